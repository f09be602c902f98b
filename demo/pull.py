"""A serving fleet resolves and pulls, and a damaged object is refused."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3  # noqa: TID251 - to damage an object behind the registry's back
import httpx2
from botocore.config import Config

from app.storage.blobs import key_of
from demo import model, show
from demo.client import Document, Registry, Store, accepted, content, expect, refused
from demo.push import PATH, PREFIX, WEIGHTS_FILE
from demo.train import Base, Trained

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client


def resolve(registry: Registry, base_digest: str) -> Document:
    """Ask the channel as the fleet does: with the digest of the base model that it runs."""
    path = f"/v1/resolve/{PREFIX}"
    query = {"channel": "production", "base_model": base_digest}
    found = accepted(registry.call("GET", path, by="reader", query=query))
    show.say(f"production serves version {found['version']}, generation {found['generation']}.")
    other = query | {"base_model": f"sha256:{hashlib.sha256(b'another base').hexdigest()}"}
    show.say("A fleet that runs another base model asks:")
    response = registry.call("GET", path, by="reader", query=other)
    show.refusal(refused(response, 409, "base-model-mismatch"))
    return found


def pull(registry: Registry, resolved: Document, folder: Path) -> None:
    """Fetch each file by its URL and through the registry; keep what verifies in `folder`."""
    folder.mkdir()
    for file in resolved["files"]:
        by_url = _fetched(file["url"])
        through_registry = content(registry.call("GET", _path(file), by="reader"))
        for fetched in (by_url, through_registry):
            expect(f"{file['name']} does not verify.", that=_verifies(fetched, file))
        (folder / file["name"]).write_bytes(by_url)
        show.say(f"{file['name']}: {len(by_url):,} bytes, twice, and both have the SHA-256 pushed.")


def run_pulled(base: Base, trained: Trained, folder: Path) -> None:
    """Load the pulled prefix on a fresh base and compare with the model that was trained."""
    prompts = base.prompts.held_out
    logits = model.logits(trained.model, prompts)
    pulled = model.logits(model.load(base.folder, folder), prompts)
    expect("The pulled prefix computes other logits.", that=pulled.equal(logits))
    shape = "x".join(map(str, logits.shape))
    show.good(
        f"PEFT loads it on a fresh base: all {shape} logits equal the trained model's to the bit."
    )


def flip_a_byte_and_restore(registry: Registry, resolved: Document) -> None:
    """Damage the stored weights, see that it shows, put the right bytes back."""
    file = next(file for file in resolved["files"] if file["name"] == WEIGHTS_FILE)
    right = content(registry.call("GET", _path(file), by="reader"))
    with _s3(registry.store) as client:
        bucket, key = registry.store.bucket, key_of(file["sha256"])
        client.put_object(Bucket=bucket, Key=key, Body=right[:-1] + bytes([right[-1] ^ 1]))
        show.say(f"One bit of {key[:24]}... is flipped in S3, behind the registry's back.")
        response = registry.call("GET", _path(file), by="reader")
        show.refusal(refused(response, 500, "damaged-object"))
        expect("The damage does not show.", that=not _verifies(_fetched(file["url"]), file))
        show.good("By its URL the fleet finds out itself: the SHA-256 is not the one resolved.")
        client.put_object(Bucket=bucket, Key=key, Body=right)
    restored = content(registry.call("GET", _path(file), by="reader"))
    expect("The restored object does not verify.", that=_verifies(restored, file))
    show.good("With the right bytes back, the pull works again.")


def _path(file: Document) -> str:
    return f"{PATH}/versions/1/files/{file['name']}"


def _fetched(url: str) -> bytes:
    return content(httpx2.get(url, timeout=30, trust_env=False))


def _verifies(fetched: bytes, file: Document) -> bool:
    return bool(f"sha256:{hashlib.sha256(fetched).hexdigest()}" == file["sha256"])


@contextmanager
def _s3(store: Store) -> "Iterator[S3Client]":
    client = boto3.client(
        "s3",
        endpoint_url=store.endpoint_url,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, proxies={}),
    )
    try:
        yield client
    finally:
        client.close()
