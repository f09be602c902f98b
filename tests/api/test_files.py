"""Downloading the files of a version: complete, in ranges, conditionally, never damaged."""

import socket
import uuid
from dataclasses import replace
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.support.adapters import a_config, a_tensor, a_weights_file
from tests.support.blobs import MemoryBlobs
from tests.support.builders import World, code, weights
from tests.support.session.in_process import InProcessClient

WEIGHTS = "adapter_model.safetensors"
SIZE = len(weights())


def an_unused_seed():
    """Return a seed whose weights no other test stores or damages."""
    return uuid.uuid4().int % 1_000_000 + 1_000


def download(world, *, file=WEIGHTS, by="publisher", number=1, query=None, **headers):
    path = f"{world.path}/versions/{number}/files/{file}"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return world.call("GET", path, by=by, headers=named, params=query, follow_redirects=False)


def digest_of(version, name=WEIGHTS):
    return next(file["sha256"] for file in version["files"] if file["name"] == name)


@pytest.fixture(scope="module")
def intact(app, tokens):
    """A world with a version whose files are intact."""
    with InProcessClient(app, raise_server_exceptions=False) as client:
        world = World(client, tokens)
        world.version = world.a_version()
        yield world


@pytest.fixture
def large_file(world_on, parts):
    """A world with a version whose weights have 3 MiB, those weights, and their digest."""
    limits = replace(parts.limits, weights_bytes=8 << 20)
    world = world_on(limits=limits)
    world.a_base()
    world.a_prefix()
    rows = 6144
    content = a_weights_file(prompt_embeddings=a_tensor(rows=rows) + an_unused_seed())
    response = world.push(config=a_config(num_virtual_tokens=rows), weights=content)
    assert response.status_code == 201, response.text
    return world, content, digest_of(response.json())


# Complete and conditional


def test_a_file_is_sent_complete_with_its_digest_as_etag(intact):
    response = download(intact)

    assert (response.status_code, response.content) == (200, intact.weights())
    assert response.headers["etag"] == f'"{digest_of(intact.version)}"'
    assert response.headers["content-length"] == str(SIZE)
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["content-disposition"] == f'attachment; filename="{WEIGHTS}"'


def test_a_file_larger_than_a_chunk_is_sent_complete(large_file):
    world, content, _ = large_file
    assert download(world).content == content


@pytest.mark.parametrize("form", ['"{digest}"', 'W/"{digest}"', '"other", "{digest}"', "*"])
def test_a_file_that_the_client_has_is_not_sent_again(intact, form):
    etag = form.format(digest=digest_of(intact.version))
    response = download(intact, if_none_match=etag)
    assert (response.status_code, response.content) == (304, b"")


def test_another_etag_returns_the_file(intact):
    assert download(intact, if_none_match='"other"').status_code == 200


def test_a_file_that_the_version_does_not_have_is_not_found(intact):
    response = download(intact, file="README.md")
    assert (response.status_code, code(response)) == (404, "not-found")


def test_a_download_can_be_redirected_to_the_store(intact):
    response = download(intact, query={"via": "storage"})

    assert response.status_code == 307
    assert response.headers["etag"] == f'"{digest_of(intact.version)}"'
    assert httpx2.get(response.headers["location"]).content == intact.weights()


# Ranges


@pytest.mark.parametrize(
    ("requested", "first", "last"),
    [
        pytest.param("bytes=0-9", 0, 9, id="from-the-start"),
        pytest.param("bytes=10-19", 10, 19, id="within"),
        pytest.param("bytes=10-", 10, SIZE - 1, id="to-the-end"),
        pytest.param("bytes=-10", SIZE - 10, SIZE - 1, id="the-last-ten"),
        pytest.param(f"bytes=-{SIZE + 5}", 0, SIZE - 1, id="more-than-there-is"),
        pytest.param(f"bytes=5-{SIZE + 5}", 5, SIZE - 1, id="beyond-the-end"),
        pytest.param(f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1, id="the-last-byte"),
    ],
)
def test_a_range_returns_that_part(intact, requested, first, last):
    response = download(intact, range=requested)

    assert (response.status_code, response.content) == (206, intact.weights()[first : last + 1])
    assert response.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
    assert response.headers["content-length"] == str(last - first + 1)


@pytest.mark.parametrize(
    "requested", ["bytes=0-1,4-5", "bytes=-", "lines=1-2", "bytes=a-b", "bytes"]
)
def test_an_unsupported_range_returns_the_complete_file(intact, requested):
    response = download(intact, range=requested)
    assert (response.status_code, response.content) == (200, intact.weights())


@pytest.mark.parametrize("requested", [f"bytes={SIZE}-", "bytes=-0", "bytes=9-3"])
def test_an_empty_range_is_refused(intact, requested):
    response = download(intact, range=requested)
    assert (response.status_code, code(response)) == (416, "range-not-satisfiable")
    assert response.headers["content-range"] == f"bytes */{SIZE}"


def test_a_range_across_chunks_returns_that_part(large_file):
    world, content, _ = large_file
    first, last = (1 << 20) - 5, (2 << 20) + 5
    assert download(world, range=f"bytes={first}-{last}").content == content[first : last + 1]


# Damage


def test_a_damaged_file_is_refused_and_reported(world, tamper):
    version = world.a_version(seed=an_unused_seed())
    tamper(digest_of(version), b"x" * SIZE)

    response = download(world)

    assert (response.status_code, code(response)) == (500, "damaged-object")
    assert response.json()["digest"] == digest_of(version)


def test_damage_found_by_a_download_is_shown_and_recorded_once(world, tamper):
    version = world.a_version(seed=an_unused_seed())
    tamper(digest_of(version), b"x" * SIZE)

    for _ in range(2):
        download(world)

    found = world.made("GET", f"{world.path}/versions/1", by="publisher")
    assert found["damaged"] == [WEIGHTS]
    assert world.actions().count("version.damage") == 1


def test_a_range_of_a_damaged_file_is_refused_even_if_its_bytes_are_intact(world, tamper):
    seed = an_unused_seed()
    version = world.a_version(seed=seed)
    tamper(digest_of(version), world.weights(seed)[:-1] + b"x")
    response = download(world, range="bytes=0-9")
    assert (response.status_code, code(response)) == (500, "damaged-object")


def test_a_missing_object_is_refused_and_reported(world, tamper):
    version = world.a_version(seed=an_unused_seed())
    tamper(digest_of(version), None)

    response = download(world)

    assert (response.status_code, code(response)) == (500, "damaged-object")
    assert "missing" in response.json()["detail"]


def test_a_download_from_an_unavailable_store_can_be_retried(world, world_on):
    world.a_version()
    blobs = MemoryBlobs()
    blobs.is_away = True
    other = world_on(blobs=blobs)
    other.path = world.path

    response = download(other)

    assert (response.status_code, code(response)) == (503, "unavailable")


def received(url, path, token):
    """Return the announced length of a file, and the bytes sent until the connection closes."""
    address = urlsplit(url)
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(request.encode())
        response = b""
        while chunk := connection.recv(1 << 16):
            response += chunk
    head, _, body = response.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(lengths[0].partition(b":")[2]), body


def test_the_transfer_of_a_large_damaged_file_is_aborted(large_file, tamper, url, tokens):
    world, content, digest = large_file
    tamper(digest, content[:-1] + bytes([content[-1] ^ 1]))

    path = f"{world.path}/versions/1/files/{WEIGHTS}"
    announced, body = received(url, path, tokens["publisher"])

    assert announced == len(content)
    assert 0 < len(body) < announced


def test_the_transfer_of_a_large_intact_file_is_complete(large_file, url, tokens):
    world, content, _ = large_file
    path = f"{world.path}/versions/1/files/{WEIGHTS}"
    assert received(url, path, tokens["publisher"]) == (len(content), content)
