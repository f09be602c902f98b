"""Creating prefixes: names that differ by case only."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tests.support.builders import code
from tests.support.racing import by_as_many_clients


def create(world, **changes):
    body = {"namespace": world.namespace, "name": "Brand-Voice", "owner": "publisher"} | changes
    return world.call("POST", "/v1/prefixes", by="publisher", json=body)


@pytest.mark.parametrize("name", ["Brand-Voice", "brand-voice", "BRAND-VOICE"])
def test_a_name_that_differs_by_case_only_is_refused_with_the_existing_one(world, name):
    assert create(world).status_code == 201
    response = create(world, name=name)
    assert (response.status_code, code(response)) == (409, "already-exists")
    assert f"The prefix {world.namespace}/Brand-Voice already exists" in response.json()["detail"]


def test_hugging_face_clients_are_refused_too(world):
    create(world)
    body = {"name": "brand-voice", "organization": world.namespace}
    response = world.call("POST", "/api/repos/create", by="publisher", json=body)
    assert response.status_code == 409
    assert f"{world.namespace}/Brand-Voice already exists" in response.json()["error"]


def test_of_two_spellings_at_once_one_is_created(world):
    names = [f"{name}-{n}" for n in range(8) for name in ("voice", "VOICE")]
    calls = [lambda each, name=name: create(each, name=name) for name in names]
    responses = by_as_many_clients(world, calls)
    statuses = [response.status_code for response in responses]
    assert sorted(statuses) == [201] * 8 + [409] * 8


def test_a_namespace_is_in_lower_case(world):
    response = create(world, namespace=world.namespace.upper())
    assert (response.status_code, code(response)) == (422, "invalid-request")
    (fault,) = response.json()["faults"]
    assert f"use {world.namespace}" in fault["message"]
    grants = [{"role": "reader", "namespace": world.namespace.upper()}]
    body = {"principal": "reader", "grants": grants}
    assert world.call("PUT", "/v1/grants", by="admin", json=body).status_code == 422


@pytest.mark.parametrize("change", [{"name": "BRAND-voice"}, {"namespace": "Acme"}])
def test_the_database_refuses_such_names_as_well(world, sessions, change):
    create(world)
    insert = text(
        "INSERT INTO prefix (id, namespace, name, owner_id, created_by_id, created_at, "
        "description, intended_uses) SELECT gen_random_uuid(), :namespace, :name, owner_id, "
        "created_by_id, created_at, '', '{}' FROM prefix WHERE namespace = :existing"
    )
    values = {"namespace": world.namespace, "name": "other", "existing": world.namespace}
    with pytest.raises(IntegrityError), sessions.begin() as session:
        session.execute(insert, values | change)
