"""Finding the base model that a push identifies by digest, or by its Hugging Face name."""

import uuid

import pytest

from app.domain.errors import UnknownBaseModelError
from app.services.artifacts.base_models import find_base_model_digest
from tests.support.builders import a_base_model, a_digest, code


@pytest.fixture
def name(world):
    return f"{world.namespace}/llama"


@pytest.fixture
def registered(world, name):
    """Register a base model under the test's name; return its digest."""

    def registered(**changes):
        document = a_base_model(name=name, **changes)
        world.made("POST", "/v1/base-models", by="publisher", json=document)
        return document["digest"]

    return registered


@pytest.fixture
def found(sessions):
    def found(*, digest=None, name=None, revision=None):
        with sessions() as session:
            return find_base_model_digest(session, digest=digest, name=name, revision=revision)

    return found


def test_a_given_digest_is_returned_unchanged(found, name):
    digest = a_digest()
    assert found(digest=digest, name=name) == digest


def test_a_unique_name_is_enough(found, name, registered):
    digest = registered()
    assert found(name=name) == digest


def test_a_revision_distinguishes_base_models_with_one_name(found, name, registered):
    registered(revision="old")
    digest = registered(revision="new")
    assert found(name=name, revision="new") == digest


def test_an_ambiguous_name_is_refused_with_the_matching_digests(found, name, registered):
    digests = sorted([registered(revision="old"), registered(revision="new")])
    with pytest.raises(UnknownBaseModelError, match=f"2 base models .*{', '.join(digests)}"):
        found(name=name)


def test_an_unregistered_name_is_refused(found):
    with pytest.raises(UnknownBaseModelError, match="No base model is registered as"):
        found(name=f"nobody/{uuid.uuid4().hex}")


def test_an_unregistered_revision_is_refused(found, name, registered):
    registered(revision="old")
    with pytest.raises(UnknownBaseModelError, match="at revision new"):
        found(name=name, revision="new")


def test_a_missing_name_is_refused(found):
    with pytest.raises(UnknownBaseModelError, match="names no base model"):
        found()


def test_a_name_that_differs_by_case_only_is_refused_with_the_existing_one(world, name, registered):
    registered()
    document = a_base_model(name=name.upper())
    response = world.call("POST", "/v1/base-models", by="publisher", json=document)
    assert (response.status_code, code(response)) == (409, "already-exists")
    assert f"register it as {name}" in response.json()["detail"]
    # Models with exactly one name differ by their digests and revisions.
    registered(revision="other")
