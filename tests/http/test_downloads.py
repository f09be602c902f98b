"""Downloads from a store with faults: one bad read is no damage, and a right read ends the mark."""

import random

import pytest

from app.storage.s3 import S3Blobs
from tests.support import store_proxy as faults

BLOBS = "/blobs/"


@pytest.fixture
def proxied(world_on, proxied_account):
    """A world with a version, whose store is behind the proxy."""
    world = world_on(blobs=S3Blobs(proxied_account))
    world.a_version(seed=random.getrandbits(22))
    return world


def download(world, **headers):
    path = f"{world.path}/versions/1/files/adapter_model.safetensors"
    return world.call("GET", path, by="publisher", headers=headers)


def version_of(world):
    return world.made("GET", f"{world.path}/versions/1", by="publisher")


def damaged(world):
    return version_of(world)["damaged"]


@pytest.mark.parametrize("fault", [faults.flip, faults.status(404)], ids=["flipped", "missing"])
def test_one_bad_read_is_repeated_and_marks_nothing(proxied, store_proxy, fault):
    store_proxy.set(faults.once(fault), "GET", BLOBS)
    assert download(proxied).status_code == 200
    assert damaged(proxied) == []
    assert proxied.actions() == ["prefix.create", "version.push"]


@pytest.mark.parametrize("fault", [faults.flip, faults.status(404)], ids=["flipped", "missing"])
def test_two_bad_reads_mark_the_version(proxied, store_proxy, fault):
    store_proxy.set(fault, "GET", BLOBS)
    response = download(proxied)
    assert (response.status_code, response.json()["type"]) == (500, "/problems/damaged-object")
    assert damaged(proxied) == ["adapter_model.safetensors"]


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-0"}], ids=["whole", "range"])
def test_a_right_read_removes_the_mark(proxied, store_proxy, headers):
    with store_proxy.fault(faults.flip, "GET", BLOBS):
        download(proxied)
    assert damaged(proxied) == ["adapter_model.safetensors"]

    assert download(proxied, **headers).is_success

    assert damaged(proxied) == []
    assert proxied.actions()[-1] == "version.repair"


@pytest.mark.parametrize(
    "fault", [faults.truncate(9), faults.status(302, Location="/elsewhere"), faults.status(500)]
)
def test_a_store_that_fails_is_unavailable_and_marks_nothing(proxied, store_proxy, fault):
    with store_proxy.fault(fault, "GET", BLOBS):
        response = download(proxied)
    assert (response.status_code, response.json()["type"]) == (503, "/problems/unavailable")
    assert damaged(proxied) == []
