"""Storing received files: a push relies on no store that lies, and heals what is damaged."""

import random
import uuid

import pytest

from app.storage.s3 import S3Blobs
from tests.support import store_proxy as faults
from tests.support.adapters import a_config
from tests.support.builders import weights

BLOBS = "/blobs/"
FILE = "versions/1/files/adapter_model.safetensors"


@pytest.fixture
def seed():
    """Of weights that no other test has stored."""
    return random.getrandbits(22)


@pytest.fixture
def proxied(world_on, proxied_account, seed):
    """A world whose store is behind the proxy."""
    world = world_on(blobs=S3Blobs(proxied_account))
    world.a_version(seed=seed)
    return world


def version_of(world):
    return world.made("GET", f"{world.path}/versions/1", by="publisher")


def repairs(world, digest):
    """Return the faults of an object's recorded repairs."""
    query = {"subject": "registry", "action": "storage.repair", "limit": 200}
    found = world.made("GET", "/v1/audit", by="auditor", params=query)["items"]
    return [each["facts"]["fault"] for each in found if each["facts"]["digest"] == digest]


@pytest.mark.parametrize(
    "fault",
    [faults.forget, faults.claim_or_forget, faults.status(307, Location="/x"), faults.status(500)],
)
def test_nothing_is_registered_that_the_store_does_not_hold(proxied, store_proxy, seed, fault):
    with store_proxy.fault(fault, "PUT", BLOBS):
        # A configuration of its own, which no other test has stored.
        response = proxied.push(
            weights=weights(seed ^ 1), config=a_config(peft_version=uuid.uuid4().hex)
        )
    assert (response.status_code, response.json()["type"]) == (503, "/problems/unavailable")
    assert "Retry-After" in response.headers
    assert proxied.actions() == ["prefix.create", "version.push"]


@pytest.mark.parametrize("content", [None, b"other bytes"], ids=["missing", "damaged"])
def test_pushing_the_same_content_again_heals_it(proxied, tamper, seed, content):
    version = version_of(proxied)
    digest = version["files"][1]["sha256"]
    tamper(digest, content)
    assert proxied.call("GET", f"{proxied.path}/{FILE}", by="publisher").status_code == 500
    assert version_of(proxied)["damaged"] == ["adapter_model.safetensors"]

    again = proxied.push(seed=seed)

    assert (again.status_code, again.json()["number"]) == (200, 1)
    assert version_of(proxied)["damaged"] == []
    assert proxied.call("GET", f"{proxied.path}/{FILE}", by="publisher").status_code == 200
    assert repairs(proxied, digest) == ["damaged"]
    assert proxied.actions() == [
        "prefix.create",
        "version.push",
        "version.damage",
        "version.repair",
    ]


def test_damage_that_nobody_read_is_healed_and_recorded_too(proxied, tamper, seed):
    digest = version_of(proxied)["files"][1]["sha256"]
    tamper(digest, b"other bytes")
    assert proxied.push(seed=seed).status_code == 200
    assert repairs(proxied, digest) == ["different"]
    assert proxied.push(seed=seed).status_code == 200
    assert repairs(proxied, digest) == ["different"]


def test_bytes_that_rot_below_a_right_checksum_are_healed_once_they_are_marked(
    proxied, store_proxy, seed
):
    """The store's HEAD knows nothing of it, but the mark does."""
    digest = version_of(proxied)["files"][1]["sha256"]
    with store_proxy.fault(faults.flip, "GET", BLOBS):
        assert proxied.call("GET", f"{proxied.path}/{FILE}", by="publisher").status_code == 500
    assert proxied.push(seed=seed).status_code == 200
    assert repairs(proxied, digest) == ["damaged"]
    assert version_of(proxied)["damaged"] == []
