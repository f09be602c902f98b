"""Limits on the cost of one request. Settings choose them, and endpoints enforce them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request: sizes in bytes, lifetimes in seconds.

    Attributes:
        weights_bytes: Largest file of weights, pushed or uploaded.
        config_bytes: Largest adapter configuration.
        metadata_bytes: Largest JSON body, and largest JSON part of a push.
        report_bytes: Largest report of an evaluation, without its samples.
        samples_bytes: Largest file of samples, as it is sent.
        presigned_lifetime_s: How long a presigned URL is valid.
    """

    weights_bytes: int
    config_bytes: int
    metadata_bytes: int
    report_bytes: int
    samples_bytes: int
    presigned_lifetime_s: int
