"""Finding the base model that a push means which names it as Hugging Face does."""

import uuid

import pytest

from app.domain.errors import UnknownBaseModelError
from app.services.artifacts.base_models import base_named
from tests.support.builders import a_base_model, a_digest


@pytest.fixture
def name(world):
    return f"{world.namespace}/llama"


@pytest.fixture
def registered(world, name):
    """Register a base model of the test's own name; return its digest."""

    def registered(**changes):
        document = a_base_model(name=name, **changes)
        world.made("POST", "/v1/base-models", by="publisher", json=document)
        return document["digest"]

    return registered


@pytest.fixture
def found(sessions):
    def found(*, digest=None, name=None, revision=None):
        return base_named(sessions, digest=digest, name=name, revision=revision)

    return found


def test_a_digest_is_taken_as_it_is(found, name):
    digest = a_digest()
    assert found(digest=digest, name=name) == digest


def test_a_unique_name_is_enough(found, name, registered):
    digest = registered()
    assert found(name=name) == digest


def test_a_revision_tells_base_models_of_one_name_apart(found, name, registered):
    registered(revision="old")
    digest = registered(revision="new")
    assert found(name=name, revision="new") == digest


def test_a_name_that_several_bear_is_refused_with_their_digests(found, name, registered):
    digests = sorted([registered(revision="old"), registered(revision="new")])
    with pytest.raises(UnknownBaseModelError, match=f"2 base models .*{', '.join(digests)}"):
        found(name=name)


def test_a_name_that_nobody_registered_is_refused(found):
    with pytest.raises(UnknownBaseModelError, match="No base model is registered as"):
        found(name=f"nobody/{uuid.uuid4().hex}")


def test_a_revision_that_nobody_registered_is_refused(found, name, registered):
    registered(revision="old")
    with pytest.raises(UnknownBaseModelError, match="at revision new"):
        found(name=name, revision="new")


def test_no_name_at_all_is_refused(found):
    with pytest.raises(UnknownBaseModelError, match="names no base model"):
        found()
