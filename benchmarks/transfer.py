"""Pushes and pulls of files of several sizes, compared with the object store alone."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import boto3  # noqa: TID251 - the store alone, for comparison
from botocore.config import Config

from app.local.s3 import S3Endpoint
from benchmarks.artifacts import Artifact, an_artifact
from benchmarks.registry import Registry, fetched
from benchmarks.series import Section, interleaved, timed

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

STORE = "S3 alone"


class Stores(Protocol):
    """A server that stores and returns files; `pull` takes the result of `push`."""

    name: str

    def push(self, artifact: Artifact) -> dict[str, Any]: ...
    def pull(self, version: dict[str, Any]) -> int: ...


class RawStore:
    """The object store alone: the minimum work of any push or pull."""

    name = STORE

    def __init__(self, endpoint: S3Endpoint) -> None:
        self._bucket = endpoint.bucket
        self._s3: S3Client = boto3.client(
            "s3",
            endpoint_url=endpoint.endpoint_url,
            aws_access_key_id=endpoint.access_key,
            aws_secret_access_key=endpoint.secret_key,
            region_name="us-east-1",
            config=Config(
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"payload_signing_enabled": False},
            ),
        )

    def push(self, artifact: Artifact) -> dict[str, Any]:
        """Hash the weights and store them."""
        digest = hashlib.sha256(artifact.weights).digest()
        key = f"raw/{digest.hex()}"
        self._s3.put_object(
            Bucket=self._bucket,
            Key=key,
            Body=artifact.weights,
            ChecksumSHA256=base64.b64encode(digest).decode(),
        )
        return {"key": key}

    def pull(self, version: dict[str, Any]) -> int:
        """Fetch by a presigned URL, with the same client as all other downloads."""
        where = {"Bucket": self._bucket, "Key": version["key"]}
        return fetched(self._s3.generate_presigned_url("get_object", Params=where))


def transfers(
    section: Section,
    systems: Sequence[Stores],
    *,
    sizes_mb: Sequence[float],
    rounds: int,
) -> None:
    """Push and pull files of each size, in turn."""
    for size_mb in sizes_mb:
        kept: dict[str, dict[str, Any]] = {}
        pushes = {each.name: _pushing(each, size_mb, kept) for each in systems}
        for name, seconds in interleaved(rounds, pushes).items():
            _add(section, f"push {size_mb:g} MB", name, seconds)
        pulls = {each.name: _pulling(each.pull, kept, each.name, size_mb) for each in systems}
        for each in systems:
            if isinstance(each, Registry):
                name = f"{each.name}, redirected"
                pulls[name] = _pulling(each.pull_redirected, kept, each.name, size_mb)
        for name, seconds in interleaved(rounds, pulls).items():
            _add(section, f"pull {size_mb:g} MB", name, seconds)


def _add(section: Section, operation: str, name: str, seconds: list[float]) -> None:
    section.add(operation, name, "ms", *(1000 * each for each in seconds))


def _pushing(
    system: Stores, size_mb: float, kept: dict[str, dict[str, Any]]
) -> Callable[[], float]:
    def push() -> float:
        artifact = an_artifact(size_mb)  # not part of the measured time
        found: list[dict[str, Any]] = []
        seconds = timed(lambda: found.append(system.push(artifact)))
        kept[system.name] = found[0]
        return seconds

    return push


def _pulling(
    pull: Callable[[dict[str, Any]], int],
    kept: dict[str, dict[str, Any]],
    name: str,
    size_mb: float,
) -> Callable[[], float]:
    def checked() -> None:
        received = pull(kept[name])
        if received < min(size_mb * 0.9e6, size_mb * 1e6 - 2e5):
            raise RuntimeError(f"{name} returned {received} bytes of {size_mb:g} MB")

    return lambda: timed(checked)
