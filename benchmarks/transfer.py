"""Pushing and pulling files of several sizes, beside the object store alone.

`python -m benchmarks.transfer [--sizes 3 64 268] [--rounds 7]`

Ratios are of medians in one run in which everything was measured in turn; 1.00 is as fast as
the store alone. Absolute times depend on the machine and are shown for orientation.
"""

import argparse
import base64
import hashlib
import json
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import boto3  # noqa: TID251 - the store alone, beside which we measure
import httpx2
from botocore.config import Config

from benchmarks.rig import BASE, PREFIX, Artifact, an_artifact, interleaved, ratio, registry
from demo.client import Registry, accepted

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Bench:
    """One size: its files, made beforehand, and everything that is done with them."""

    client: Registry
    raw: httpx2.Client
    artifacts: list[Artifact]
    s3: "S3Client"
    numbers: dict[int, int] = field(default_factory=dict)

    def raw_put(self, number: int) -> None:
        """Hash a file and store it, as the least that any push must do."""
        path = self.artifacts[number].weights
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            file.seek(0)
            self.s3.put_object(
                Bucket=self.client.store.bucket,
                Key=f"raw/{path.name}",
                Body=file,
                ChecksumSHA256=base64.b64encode(digest).decode(),
            )

    def push(self, number: int) -> None:
        artifact = self.artifacts[number]
        described = json.dumps({"base_model": BASE})
        with artifact.weights.open("rb") as file:
            response = self.client.http.post(
                f"/v1/prefixes/{PREFIX}/versions",
                headers=self._headers("publisher"),
                files={
                    "version": ("version", described.encode()),
                    "config": ("config", artifact.config),
                    "weights": ("weights", file),
                },
            )
        self.numbers[number] = accepted(response)["number"]

    def raw_get(self, number: int) -> None:
        """Download straight from the store, by a URL signed beforehand."""
        url = self.s3.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self.client.store.bucket,
                "Key": f"raw/{self.artifacts[number].weights.name}",
            },
        )
        with self.raw.stream("GET", url) as response:
            self._drain(response, number)

    def pull_stream(self, number: int) -> None:
        path = self._file(number)
        headers = self._headers("publisher")
        with self.client.http.stream("GET", path, headers=headers) as response:
            self._drain(response, number)

    def pull_redirect(self, number: int) -> None:
        headers = self._headers("publisher")
        answer = self.client.http.get(f"{self._file(number)}?via=storage", headers=headers)
        with self.raw.stream("GET", answer.headers["Location"]) as response:
            self._drain(response, number)

    def _file(self, number: int) -> str:
        return f"/v1/prefixes/{PREFIX}/versions/{self.numbers[number]}/files/{_WEIGHTS}"

    def _headers(self, by: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.client.tokens[by]}"}

    def _drain(self, response: httpx2.Response, number: int) -> None:
        received = sum(len(chunk) for chunk in response.iter_raw(_CHUNK_BYTES))
        if received != self.artifacts[number].size_bytes:
            raise RuntimeError(f"received {received} bytes: {response.status_code}")


_WEIGHTS = "adapter_model.safetensors"


def store_client(client: Registry) -> "S3Client":
    """Return a client for the object store alone, configured as the registry's is."""
    return boto3.client(
        "s3",
        endpoint_url=client.store.endpoint_url,
        aws_access_key_id=client.store.access_key,
        aws_secret_access_key=client.store.secret_key,
        region_name="us-east-1",
        config=Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"payload_signing_enabled": False},
        ),
    )


def measure(client: Registry, size_mb: float, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each operation on files of `size_mb` million bytes."""
    with tempfile.TemporaryDirectory() as folder, httpx2.Client(trust_env=False, timeout=60) as raw:
        artifacts = [an_artifact(Path(folder), size_mb, seed) for seed in range(rounds)]
        bench = Bench(client, raw, artifacts, store_client(client))
        pushes: dict[str, Callable[[int], object]] = {
            "raw put": bench.raw_put,
            "push": bench.push,
        }
        seconds = interleaved(rounds, pushes)
        pulls: dict[str, Callable[[int], object]] = {
            "raw get": bench.raw_get,
            "pull by stream": bench.pull_stream,
            "pull by redirect": bench.pull_redirect,
        }
        return seconds | interleaved(rounds, pulls)


def main() -> None:
    """Measure and print one row per size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=float, nargs="+", default=[3, 64, 268])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    print("| size | push | pull by stream | pull by redirect | raw PUT + SHA-256 | raw GET |")
    print("| --- | --- | --- | --- | --- | --- |")
    with registry() as client:
        measure(client, 1, 2)  # loads what only the first push loads
        for size_mb in arguments.sizes:
            seconds = measure(client, size_mb, arguments.rounds)
            cells = [
                f"{size_mb:g} MB",
                f"{ratio(seconds['raw put'], seconds['push']):.2f}",
                f"{ratio(seconds['raw get'], seconds['pull by stream']):.2f}",
                f"{ratio(seconds['raw get'], seconds['pull by redirect']):.2f}",
                f"{statistics.median(seconds['raw put']) * 1000:.0f} ms",
                f"{statistics.median(seconds['raw get']) * 1000:.0f} ms",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
