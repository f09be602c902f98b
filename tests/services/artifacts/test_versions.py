"""Pushing versions: accepted artifacts, refused ones, and the effects of a failed push."""

import hashlib
import json
import uuid

import pytest
from sqlalchemy import delete

from app.db.models import BlobPin
from tests.support.adapters import a_config, a_tensor, a_weights_file
from tests.support.blobs import MemoryBlobs
from tests.support.builders import CARD, a_base_model, a_digest, weights


def unused_seed():
    """Return a seed for weights that no other test has stored."""
    return uuid.uuid4().int % 1_000_000 + 1_000


def digest_of(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture
def prefix(world):
    """An empty prefix and a base model."""
    world.a_base()
    world.a_prefix()
    return world


def numbers(world):
    listed = world.made("GET", f"{world.path}/versions", by="publisher")["items"]
    return [version["number"] for version in listed]


def test_a_pushed_version_shows_its_facts(prefix):
    version = prefix.push().json()

    assert version["prefix"] == prefix.prefix
    assert version["base_model"] == prefix.base
    assert version["card"] == CARD
    assert version["lineage"] == {"run": "r-1"}
    assert version["created_by"] == "publisher"
    assert version["revision"] == version["digest"].removeprefix("sha256:")[:40]
    assert version["tensor"]["parameters"] == a_tensor().numel()
    assert version["tensor"]["parameter_fraction"] == a_tensor().numel() / 1_234_567


def test_a_push_returns_the_location_of_the_version(prefix):
    location = prefix.push().headers["location"]
    assert prefix.made("GET", location, by="publisher")["number"] == 1


def test_pushing_the_same_content_again_returns_the_existing_version(prefix):
    first = prefix.push().json()

    again = prefix.push()

    assert (again.status_code, again.json()) == (200, first)
    assert prefix.actions() == ["prefix.create", "version.push"]


def test_the_same_weights_with_another_configuration_are_a_new_version(prefix):
    prefix.push()
    assert prefix.push(config=a_config(peft_version="0.20.0")).json()["number"] == 2


def test_the_same_content_for_another_base_model_is_a_new_version(prefix):
    prefix.push()
    prefix.base = None
    prefix.a_base(own=True)
    assert prefix.push().json()["number"] == 2


def test_a_refused_artifact_consumes_no_number(prefix):
    prefix.push(seed=1)

    assert prefix.push(weights=b"no tensors").status_code == 422

    assert prefix.push(seed=2).json()["number"] == 2
    assert numbers(prefix) == [2, 1]


def test_a_refused_artifact_leaves_no_row_entry_or_object(prefix, blobs):
    content = a_weights_file(prompt_embeddings=a_tensor(columns=8) + unused_seed())

    response = prefix.push(weights=content)

    assert response.json()["type"] == "/problems/invalid-artifact"
    assert numbers(prefix) == []
    assert prefix.actions() == ["prefix.create"]
    assert digest_of(content) not in {blob.digest for blob in blobs.stored()}


def test_all_faults_of_an_artifact_are_reported_at_once(prefix):
    response = prefix.push(config=a_config(num_layers=5), weights=b"no tensors")
    assert len(response.json()["faults"]) > 1


def test_an_unknown_base_model_is_refused_before_anything_is_stored(prefix, blobs):
    seed = unused_seed()

    response = prefix.push(seed=seed, version=json.dumps({"base_model": a_digest()}))

    assert (response.status_code, response.json()["type"]) == (422, "/problems/unknown-base-model")
    assert digest_of(weights(seed)) not in {blob.digest for blob in blobs.stored()}


@pytest.mark.parametrize("stored", [0, 1], ids=["before-the-first-file", "between-the-files"])
def test_a_push_leaves_no_row_if_the_store_becomes_unavailable(world_on, stored):
    blobs = MemoryBlobs(puts_left=stored)
    world = world_on(blobs=blobs)
    world.a_base()
    world.a_prefix()

    response = world.push()

    assert (response.status_code, response.json()["type"]) == (503, "/problems/unavailable")
    assert numbers(world) == []
    assert world.actions() == ["prefix.create"]
    assert len(blobs.objects) == stored


def test_a_push_succeeds_once_the_store_is_back(world_on):
    blobs = MemoryBlobs(puts_left=1)
    world = world_on(blobs=blobs)
    world.a_base()
    world.a_prefix()
    world.push()
    blobs.is_away, blobs.puts_left = False, None

    response = world.push()

    assert (response.status_code, response.json()["number"]) == (201, 1)


def test_a_push_whose_pins_have_expired_is_refused(world_on, sessions):
    class SlowBlobs(MemoryBlobs):
        """Blobs that take so long to store an object that all pins expire."""

        def put(self, content, *, digest, size_bytes):
            super().put(content, digest=digest, size_bytes=size_bytes)
            with sessions.begin() as session:
                session.execute(delete(BlobPin))

    world = world_on(blobs=SlowBlobs())
    world.a_base()
    world.a_prefix()

    response = world.push()

    assert (response.status_code, response.json()["type"]) == (503, "/problems/unavailable")
    assert numbers(world) == []


def test_a_push_to_a_prefix_that_does_not_exist_is_not_found(world):
    world.a_base()
    assert world.push().status_code == 404


@pytest.mark.parametrize("role", ["evaluator", "approver-1", "admin"])
def test_only_publishers_push(prefix, role):
    response = prefix.push(by=role)
    assert (response.status_code, response.json()["type"]) == (403, "/problems/forbidden")


def test_a_configuration_that_names_another_registered_base_model_is_refused(prefix):
    other = a_base_model(name=f"{prefix.namespace}/other")
    prefix.made("POST", "/v1/base-models", by="publisher", json=other)

    response = prefix.push(config=a_config(base_model_name_or_path=other["name"]))

    assert response.status_code == 422
    assert [fault["code"] for fault in response.json()["faults"]] == ["config-base-model"]
    assert numbers(prefix) == []


def test_an_unregistered_base_model_name_in_the_configuration_is_ignored(prefix):
    config = a_config(base_model_name_or_path="./a-local-folder")
    assert prefix.push(config=config).status_code == 201


def test_a_configuration_may_name_a_base_model_whose_name_is_common(prefix):
    document = a_base_model(name=f"{prefix.namespace}/common")
    for _ in range(101):
        other = document | {"digest": a_digest()}
        prefix.made("POST", "/v1/base-models", by="publisher", json=other)
    last = document | {"digest": f"sha256:{'f' * 20}{a_digest()[27:]}"}
    prefix.made("POST", "/v1/base-models", by="publisher", json=last)

    response = prefix.push(
        version=json.dumps({"base_model": last["digest"]}),
        config=a_config(base_model_name_or_path=document["name"]),
    )

    assert response.status_code == 201
