"""What requests may cost; settings say it, and endpoints hold to it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost: sizes in bytes, lifetimes in seconds."""

    weights_bytes: int
    config_bytes: int
    metadata_bytes: int
    report_bytes: int
    samples_bytes: int
    presigned_lifetime_s: int
