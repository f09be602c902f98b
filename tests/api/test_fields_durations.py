"""Durations in requests: a number needs its unit, in every body and in both notations."""

import json
from datetime import datetime, timedelta

import pytest
import yaml

from tests.support.builders import a_policy, code

MEMBERS = [("approvals", "valid_for"), ("approvals", "wait"), ("evidence", "max_age")]
REFUSED = [7, 7.5, 0, -7, True, "7", "-7d", "P1M", "P1Y", "7 d", "\u0667d", "999999999w", "PT1.5H"]


@pytest.fixture
def document(world):
    world.a_suite()
    return a_policy(world.suite, approvals={"required": 2})


def create(world, document, *, dump=json.dumps):
    kind = "application/json" if dump is json.dumps else "application/yaml"
    return world.call(
        "POST",
        "/v1/policies",
        by="admin",
        content=dump(document),
        headers={"Content-Type": kind},
    )


def changed(document, section, member, value):
    return document | {section: document.get(section, {}) | {member: value}}


@pytest.mark.parametrize("dump", [json.dumps, yaml.safe_dump], ids=["json", "yaml"])
@pytest.mark.parametrize(("section", "member"), MEMBERS)
def test_a_policy_takes_a_duration_only_with_its_unit(world, document, section, member, dump):
    for value in REFUSED:
        response = create(world, changed(document, section, member, value), dump=dump)
        assert (response.status_code, code(response)) == (422, "invalid-request"), value
        (fault,) = response.json()["faults"]
        assert fault["message"].startswith(f"{section}.{member}: "), value
    for written, returned in [("7d", "P7D"), ("90m", "PT1H30M"), ("P400D", "P400D")]:
        if member == "wait" and written == "P400D":
            continue  # longer than a promotion may be pending
        response = create(world, changed(document, section, member, written), dump=dump)
        assert response.status_code in {200, 201}, response.text
        assert response.json()["document"][section][member] == returned


def test_a_refusal_says_which_units_there_are(world, document):
    response = create(world, changed(document, "approvals", "valid_for", 7))
    (fault,) = response.json()["faults"]
    assert "7 has no unit: write 7s, 7m, 7h or 7d" in fault["message"]


def test_a_returned_policy_can_be_sent_again(world, document):
    demanding = changed(document, "evidence", "max_age", "P731DT12H")
    made = create(world, demanding).json()
    again = create(world, made["document"])
    assert (again.status_code, again.json()) == (200, made)


@pytest.mark.parametrize("value", [*REFUSED, "0s", "PT0S", "367d", None])
def test_a_token_is_issued_for_a_duration_only_with_its_unit(world, value):
    name, _ = world.a_principal()
    body = {"principal": name, "expires_in": value}
    response = world.call("POST", "/v1/tokens", by="admin", json=body)
    assert (response.status_code, code(response)) == (422, "invalid-request")
    (fault,) = response.json()["faults"]
    assert fault["message"].startswith("expires_in: ")


@pytest.mark.parametrize("value", ["36h", "PT36H", "P1DT12H"])
def test_a_token_lives_as_long_as_was_asked_for(world, value):
    name, _ = world.a_principal()
    body = {"principal": name, "expires_in": value}
    issued = world.made("POST", "/v1/tokens", by="admin", json=body)
    listed = world.made("GET", "/v1/tokens", by="admin", params={"principal": name})["items"]
    (newest,) = (each for each in listed if each["id"] == issued["id"])
    made, ends = (datetime.fromisoformat(newest[each]) for each in ("created_at", "expires_at"))
    assert ends - made == timedelta(hours=36)
