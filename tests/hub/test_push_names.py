"""Names that a Hugging Face client may give a prefix: the ones that the registry's API takes."""

import pytest

from app.domain.naming import RESERVED_NAMESPACES


def create(world, namespace, name):
    body = {"organization": namespace, "name": name, "type": "model"}
    return world.call("POST", "/api/repos/create", by="publisher", json=body)


def exists(world, namespace, name):
    path = f"/v1/prefixes/{namespace}/{name}"
    return world.call("GET", path, by="publisher").status_code == 200


def test_a_well_formed_name_is_taken(world):
    assert create(world, world.namespace, "voice").status_code == 200
    assert exists(world, world.namespace, "voice")


@pytest.mark.parametrize("namespace", sorted(RESERVED_NAMESPACES))
def test_no_prefix_is_created_in_a_reserved_namespace(world, namespace):
    refused = create(world, namespace, "voice")
    assert refused.status_code == 422
    assert f"{namespace}/voice cannot be the name of a prefix" in refused.text
    assert not exists(world, namespace, "voice")


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        pytest.param("-acme", "voice", id="namespace-begins-with-a-mark"),
        pytest.param("ac..me", "voice", id="namespace-with-two-marks"),
        pytest.param("acme", "voice.git", id="name-of-a-repository"),
        pytest.param("acme", "voice-", id="name-ends-with-a-mark"),
        pytest.param("acme", "v" * 97, id="name-too-long"),
        pytest.param("acme", "", id="no-name"),
    ],
)
def test_no_prefix_gets_a_malformed_name(world, namespace, name):
    refused = create(world, namespace, name)
    assert refused.status_code == 422
    assert f"{namespace}/{name} cannot be the name of a prefix" in refused.text


def test_only_models_are_created(world):
    body = {"organization": world.namespace, "name": "voice", "type": "dataset"}
    refused = world.call("POST", "/api/repos/create", by="publisher", json=body)
    assert refused.status_code == 422
    assert "only models" in refused.text
    assert not exists(world, world.namespace, "voice")
