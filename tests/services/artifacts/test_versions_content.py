"""Versions with equal content: evidence, authors and revocations are of the content."""

import json

import pytest
from safetensors.torch import load, save
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from app.db.models import Prefix
from app.services.artifacts import revocations
from app.services.transactions import transactions_of_server
from tests.support.adapters import a_config
from tests.support.builders import CARD, World, code, results
from tests.support.racing import by_as_many_clients

BAD = {"results": results(value=0.2)}


@pytest.fixture
def elsewhere(world):
    """Another namespace on the same server."""
    return World(world.client, world.tokens, shares=True)


def rearranged(weights):
    """Return the same numbers in another file."""
    return save(load(weights), {"format": "pt", "note": "again"})


def copied(world, other, seed=0, **parts):
    """Push the numbers of one world's version to another world."""
    if other.base is None:
        other.a_base()
        other.a_prefix()
    response = other.push(weights=world.weights(seed), **parts)
    assert response.status_code == 201, response.text
    return response.json()


def described(world, **changes):
    return json.dumps({"base_model": world.base, "card": CARD, "lineage": {"run": "r-1"}} | changes)


def served(world, version):
    """Let channel `production` serve a version."""
    world.a_channel()
    assert world.evaluate(version).status_code == 201
    world.approve(world.request(version).json())


# One content


@pytest.mark.parametrize("how", ["configuration", "container", "elsewhere"])
def test_other_files_of_the_same_numbers_are_another_version_of_one_content(
    world, elsewhere, tmp_path, how
):
    first = world.a_version()
    if how == "configuration":
        again = world.push(config=json.dumps(json.loads(a_config()), indent=4)).json()
    elif how == "container":
        again = world.push(weights=rearranged(world.weights())).json()
    else:
        again = copied(world, elsewhere, config=json.dumps(json.loads(a_config()), indent=4))

    assert again["digest"] != first["digest"]
    assert again["content"] == first["content"]


def test_one_changed_bit_is_another_content(world):
    first = world.a_version()
    changed = bytearray(world.weights())
    changed[-1] ^= 1

    assert world.push(weights=bytes(changed)).json()["content"] != first["content"]


def test_the_content_of_equal_numbers_differs_by_base_model(world, elsewhere):
    first = world.a_version()
    elsewhere.a_base(own=True)
    elsewhere.a_prefix()

    assert copied(world, elsewhere)["content"] != first["content"]


def test_a_better_card_is_a_new_version_that_keeps_its_evidence(world):
    first = world.an_evaluated_version()
    better = {"card": CARD | {"licence": "mit"}}

    response = world.push(version=described(world, **better))

    assert response.status_code == 201
    second = response.json()
    assert (second["number"], second["digest"]) == (2, first["digest"])
    assert second["card"]["licence"] == "mit"
    assert world.request(second).status_code == 201
    assert world.push(version=described(world, **better)).status_code == 200
    assert world.push().json()["number"] == 1


def test_other_lineage_is_a_new_version(world):
    world.a_version()
    assert world.push(version=described(world, lineage={"run": "r-2"})).json()["number"] == 2


def test_a_revision_of_equal_files_is_the_latest_version(world):
    first = world.a_version()
    better = CARD | {"intended_purpose": "Speak plainly."}
    second = world.push(version=described(world, card=better)).json()

    path = f"/{world.prefix}/resolve/{first['revision']}/README.md"
    card = world.call("GET", path, by="publisher")

    assert second["revision"] == first["revision"]
    assert "Speak plainly." in card.text


# Evidence


def test_a_failing_evaluation_follows_the_numbers_into_other_files(world):
    first = world.an_evaluated_version()
    world.evaluate(first, **BAD)

    second = world.push(config=json.dumps(json.loads(a_config()), indent=4)).json()

    response = world.request(second)
    assert (response.status_code, code(response)) == (409, "gate-not-passed")


def test_a_failing_evaluation_elsewhere_counts(world, elsewhere):
    world.an_evaluated_version()
    elsewhere.suite = world.suite
    elsewhere.evaluate(copied(world, elsewhere), **BAD)

    assert code(world.request({"number": 1})) == "gate-not-passed"


@pytest.mark.parametrize(
    ("namespaces", "status"),
    [
        pytest.param(["*"], 201, id="of the whole registry"),
        pytest.param(["there", "here"], 409, id="of each namespace"),
    ],
)
def test_an_evaluation_elsewhere_counts_for_a_version_by_its_evaluators_scope(
    world, elsewhere, namespaces, status
):
    version = world.a_version()
    world.a_channel()
    elsewhere.suite = world.suite
    named = {"*": "*", "there": elsewhere.namespace, "here": world.namespace}
    _, evaluator = world.a_principal(None, *(("evaluator", named[each]) for each in namespaces))

    assert elsewhere.evaluate(copied(world, elsewhere), by=evaluator).status_code == 201

    response = world.request(version)
    assert response.status_code == status
    if status != 201:
        assert "evaluator of another namespace" in response.json()["detail"]
        assert world.evaluate(version, by=evaluator).status_code == 201
        assert world.request(version).status_code == 201


def test_evaluations_elsewhere_are_listed_for_those_who_see_there(world, elsewhere):
    version = world.a_version()
    world.a_channel()
    elsewhere.suite = world.suite
    recorded = elsewhere.evaluate(copied(world, elsewhere)).json()
    _, member = world.a_principal(None, ("evaluator", world.namespace))
    path = f"{world.path}/versions/{version['number']}/evaluations"

    assert [each["id"] for each in world.made("GET", path, by="admin")["items"]] == [recorded["id"]]
    assert world.made("GET", path, by=member)["items"] == []
    assert recorded["id"] in str(world.gate(version, by=member).json())
    response = world.call("GET", f"/v1/evaluations/{recorded['id']}", by=member)
    assert response.status_code == 404


def test_voiding_an_evaluation_frees_every_version_of_the_content(world):
    first = world.an_evaluated_version()
    failing = world.evaluate(first, **BAD).json()
    second = world.push(version=described(world, lineage={"run": "r-2"})).json()
    assert code(world.request(second)) == "gate-not-passed"

    assert world.void(failing).status_code == 200

    assert world.request(second).status_code == 201


# Authors


def test_each_principal_that_pushed_the_numbers_is_an_author(world, elsewhere):
    world.an_evaluated_version()
    _, pusher = world.a_principal(
        "pusher-" + world.namespace,
        ("publisher", elsewhere.namespace),
        ("approver", world.namespace),
    )
    elsewhere.a_base()
    elsewhere.a_prefix()
    assert elsewhere.push(weights=world.weights(), by=pusher).status_code == 201
    promotion = world.request({"number": 1}).json()

    response = world.review(promotion, by=pusher)

    assert (response.status_code, code(response)) == (403, "separation-of-duties")
    assert "an author of the promoted versions" in response.json()["detail"]


# Revocation


def test_a_revoked_content_cannot_be_promoted_elsewhere(world, elsewhere):
    world.revoke(world.an_evaluated_version(), reason="it leaks names")
    elsewhere.suite = world.suite
    version = copied(world, elsewhere)
    elsewhere.a_channel()
    _, member = world.a_principal(
        None, ("evaluator", elsewhere.namespace), ("publisher", elsewhere.namespace)
    )
    elsewhere.evaluate(version, by=member)

    response = elsewhere.request(version, by=member)

    assert (response.status_code, code(response)) == (410, "version-revoked")
    assert "leaks" not in response.text
    shown = elsewhere.made("GET", f"{elsewhere.path}/versions/1", by=member)["revoked"]
    assert (shown["by"], "another namespace" in shown["reason"]) == (None, True)
    page = elsewhere.call("GET", f"{elsewhere.path}/versions/1", by=member)
    assert "leaks" not in page.text


def test_a_revocation_empties_the_channels_of_other_prefixes(world, elsewhere):
    version = world.a_version()
    served(elsewhere, copied(world, elsewhere))

    assert world.revoke(version).status_code == 200

    assert elsewhere.resolve().status_code == 410
    assert elsewhere.actions()[-2:] == ["version.revoke", "channel.withdraw"]
    entry = elsewhere.audit()[-2]
    assert entry["principal"] == "prefix-registry"
    assert "leaks" not in json.dumps(elsewhere.audit())
    assert elsewhere.verification()["valid"]


def test_a_revocation_supersedes_promotions_of_other_prefixes(world, elsewhere):
    version = world.a_version()
    copy = copied(world, elsewhere)
    elsewhere.a_channel()
    elsewhere.evaluate(copy)
    promotion = elsewhere.request(copy).json()

    world.revoke(version)

    assert elsewhere.promotion(promotion)["state"] == "superseded"


def test_a_keyed_revocation_reaches_other_prefixes_in_the_background(world, elsewhere, sessions):
    version = world.a_version()
    served(elsewhere, copied(world, elsewhere))
    path = f"{world.path}/versions/{version['number']}/revoke"
    key = {"Idempotency-Key": f"revoke-{world.namespace}"}
    body = {"reason": "it leaks names"}

    assert world.call("POST", path, by="approver-1", json=body, headers=key).status_code == 200
    revocations.withdraw_revoked(transactions_of_server(sessions))

    assert elsewhere.resolve().status_code == 410


def test_a_content_is_revoked_once(world, elsewhere):
    version = world.a_version()
    copy = copied(world, elsewhere)
    world.revoke(version)

    assert code(elsewhere.revoke(copy)) == "version-revoked"


def test_a_revocation_during_approvals_elsewhere_leaves_nothing_served(world, elsewhere):
    for seed in range(6):
        version = world.an_evaluated_version(seed)
        elsewhere.suite = world.suite
        copy = copied(world, elsewhere, seed)
        if seed == 0:
            elsewhere.a_channel()
        promotion = elsewhere.request(copy).json()
        elsewhere.review(promotion, by="approver-2")

        by_as_many_clients(
            world,
            [
                lambda each, version=version: each.revoke(version),
                lambda each, promotion=promotion: each.review(promotion, by="approver-1"),
            ],
        )

        assert elsewhere.channel()["allocation"] == []


@pytest.mark.parametrize("error", [OperationalError("SELECT", {}, Exception()), RuntimeError()])
def test_a_withdrawal_that_fails_is_tried_again(
    world, elsewhere, sessions, monkeypatch, caplog, error
):
    version = world.a_version()
    served(elsewhere, copied(world, elsewhere))

    def fails(*_):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(revocations, "_withdraw_from", fails)
        assert world.revoke(version).status_code == 200
    assert elsewhere.channel()["allocation"] != []
    assert version["content"] in caplog.text

    revocations.withdraw_revoked(transactions_of_server(sessions))

    assert elsewhere.channel()["allocation"] == []


def test_a_withdrawal_that_another_server_made_changes_nothing(world, elsewhere, sessions):
    version = world.a_version()
    served(elsewhere, copied(world, elsewhere))
    with sessions() as session:
        prefix = session.scalars(
            select(Prefix.id).where(Prefix.namespace == elsewhere.namespace)
        ).one()
    world.revoke(version)
    before = elsewhere.actions()

    revocations._withdraw_from(transactions_of_server(sessions), prefix, version["content"])

    assert elsewhere.actions() == before
