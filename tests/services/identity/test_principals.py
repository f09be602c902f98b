"""Principals, grants and tokens: creating, changing, revoking and deactivating them."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from app.db.models import ApiToken, Principal
from app.domain.identity.access import PrincipalKind
from app.services.identity.bootstrap import ensure_principal, ensure_token
from tests.support.builders import a_policy, a_suite, code

NOW = datetime.now(UTC)  # noqa: TID251 - tokens are issued at the real time
DAY = timedelta(days=1)


def a_name():
    return f"person-{uuid.uuid4().hex[:8]}"


def is_authenticated(world, token):
    return world.call("GET", "/v1/prefixes", by=token).status_code == 200


def issue(world, principal, **changes):
    body = {"principal": principal} | changes
    return world.call("POST", "/v1/tokens", by="admin", json=body)


def set_grants(world, principal, *grants, by="admin"):
    listed = [{"role": role, "namespace": namespace} for role, namespace in grants]
    body = {"principal": principal, "grants": listed}
    return world.call("PUT", "/v1/grants", by=by, json=body)


def test_a_new_principal_has_the_grants_it_was_given(world):
    name = a_name()
    grants = [
        {"role": "approver", "namespace": "acme"},
        {"role": "reader", "namespace": "*"},
        {"role": "reader", "namespace": "*"},
    ]
    body = {"name": name, "kind": "human", "grants": grants}

    made = world.made("POST", "/v1/principals", by="admin", json=body)

    assert (made["name"], made["kind"]) == (name, "human")
    assert sorted(made["grants"], key=str) == grants[:2]


def test_a_name_can_be_used_only_once(world):
    name, _ = world.a_principal()
    body = {"name": name, "kind": "service"}
    response = world.call("POST", "/v1/principals", by="admin", json=body)
    assert (response.status_code, code(response)) == (409, "already-exists")


def test_all_grants_are_replaced(world):
    name, _ = world.a_principal(None, ("reader", "acme"), ("publisher", "acme"))

    changed = set_grants(world, name, ("publisher", "acme"), ("approver", "other")).json()

    held = {(grant["role"], grant["namespace"]) for grant in changed["grants"]}
    assert held == {("publisher", "acme"), ("approver", "other")}


def test_grants_apply_from_the_next_request(world):
    name, token = world.a_principal()
    world.a_base()
    world.a_prefix()
    assert world.call("GET", world.path, by=token).status_code == 404

    set_grants(world, name, ("publisher", world.namespace))
    assert world.call("GET", world.path, by=token).status_code == 200

    set_grants(world, name)
    assert world.call("GET", world.path, by=token).status_code == 404


def test_an_unknown_principal_gets_no_grants(world):
    response = set_grants(world, a_name(), ("reader", "*"))
    assert (response.status_code, code(response)) == (404, "not-found")


def test_a_token_expires_as_requested(world):
    name, _ = world.a_principal()

    issued = issue(world, name, expires_in="PT1H").json()

    assert issued["token"].startswith("prg_")
    lifetime = datetime.fromisoformat(issued["expires_at"]) - NOW
    assert timedelta(hours=1) <= lifetime < timedelta(hours=2)


def test_tokens_are_stored_as_hashes_only(world, sessions):
    _, token = world.a_principal()
    with sessions() as session:
        assert token not in set(session.scalars(select(ApiToken.hash)))


def test_no_token_is_on_the_audit_log(world):
    name, _ = world.a_principal()
    issued = issue(world, name).json()

    entry = world.last_entry("registry")

    assert entry["facts"]["token_id"] == issued["id"]
    assert issued["token"] not in str(entry)


def test_an_unknown_principal_gets_no_token(world):
    response = issue(world, a_name())
    assert (response.status_code, code(response)) == (422, "unknown-reference")


def test_an_expired_token_is_refused(world, time):
    name, _ = world.a_principal()
    token = issue(world, name, expires_in="PT1H").json()["token"]
    assert is_authenticated(world, token)

    time.ahead = timedelta(hours=1, seconds=1)

    assert not is_authenticated(world, token)


def test_a_revoked_token_is_refused_at_once(world):
    name, _ = world.a_principal()
    issued = issue(world, name).json()
    assert is_authenticated(world, issued["token"])

    response = world.call("DELETE", f"/v1/tokens/{issued['id']}", by="admin")

    assert (response.status_code, response.content) == (204, b"")
    assert not is_authenticated(world, issued["token"])


def test_revoking_a_token_again_changes_nothing(world):
    name, _ = world.a_principal()
    issued = issue(world, name).json()
    path = f"/v1/tokens/{issued['id']}"
    world.call("DELETE", path, by="admin")
    before = world.verification("registry")["entries"]

    assert world.call("DELETE", path, by="admin").status_code == 204

    assert world.verification("registry")["entries"] == before


def test_a_token_that_was_never_issued_cannot_be_revoked(world):
    response = world.call("DELETE", f"/v1/tokens/{uuid.uuid4()}", by="admin")
    assert (response.status_code, code(response)) == (404, "not-found")


# Reading principals


def test_every_principal_can_read_its_own_grants(world):
    name, token = world.a_principal(None, ("approver", "acme"), ("reader", "*"))
    limited = world.a_token(name, channels=["staging", "production"])

    me = world.made("GET", "/v1/me", by=token)

    grants = [{"role": "approver", "namespace": "acme"}, {"role": "reader", "namespace": "*"}]
    assert (me["name"], me["kind"], me["channels"]) == (name, "human", None)
    assert me["grants"] == grants
    assert world.made("GET", "/v1/me", by=limited)["channels"] == ["production", "staging"]


def test_an_admin_finds_a_principal_by_name_and_in_the_list(world):
    name, _ = world.a_principal(None, ("reader", "acme"))

    shown = world.made("GET", f"/v1/principals/{name}", by="admin")

    assert shown["grants"] == [{"role": "reader", "namespace": "acme"}]
    cursor, listed = {}, []
    while cursor is not None:
        page = world.made("GET", "/v1/principals", by="admin", params={"limit": 200} | cursor)
        listed += page["items"]
        cursor = None if page["next"] is None else {"cursor": page["next"]}
    assert shown in listed
    # The order is the database's, so only check that no page lost or repeated a principal.
    assert len({row["id"] for row in listed}) == len(listed)


def test_a_principal_that_was_never_created_is_not_found(world):
    response = world.call("GET", f"/v1/principals/{a_name()}", by="admin")
    assert (response.status_code, code(response)) == (404, "not-found")


# Deactivation


def deactivate(world, name):
    return world.call("DELETE", f"/v1/principals/{name}", by="admin")


def test_a_deactivated_principal_is_refused_but_stays_on_record(world):
    name, token = world.a_principal(None, ("publisher", world.namespace))
    before = world.made("GET", f"/v1/principals/{name}", by="admin")
    assert is_authenticated(world, token)

    response = deactivate(world, name)

    assert (response.status_code, response.content) == (204, b"")
    assert not is_authenticated(world, token)
    shown = world.made("GET", f"/v1/principals/{name}", by="admin")
    assert (shown["id"], shown["grants"]) == (before["id"], [])
    assert shown["deactivated_at"] is not None
    (revoked,) = world.made("GET", "/v1/tokens", by="admin", params={"principal": name})["items"]
    assert revoked["revoked_at"] == shown["deactivated_at"]


def test_deactivating_again_changes_nothing(world):
    name, _ = world.a_principal()
    deactivate(world, name)
    before = world.verification("registry")["entries"]

    assert deactivate(world, name).status_code == 204

    assert world.verification("registry")["entries"] == before


def test_an_unknown_principal_cannot_be_deactivated(world):
    response = deactivate(world, a_name())
    assert (response.status_code, code(response)) == (404, "not-found")


def test_a_deactivated_principal_gets_neither_grants_nor_tokens(world):
    name, _ = world.a_principal()
    deactivate(world, name)
    for response in (set_grants(world, name, ("admin", "*")), issue(world, name)):
        assert (response.status_code, code(response)) == (409, "principal-deactivated")


def test_the_name_of_a_deactivated_principal_stays_taken(world):
    name, _ = world.a_principal()
    deactivate(world, name)
    body = {"name": name, "kind": "human"}
    response = world.call("POST", "/v1/principals", by="admin", json=body)
    assert (response.status_code, code(response)) == (409, "already-exists")


def test_the_approval_of_a_deactivated_reviewer_no_longer_counts(world):
    name, token = world.a_principal(None, ("approver", world.namespace))
    promotion = world.a_promotion()
    assert world.review(promotion, by=token).json()["waiting_for"]["approvals"] == 1

    deactivate(world, name)

    assert world.promotion(promotion)["waiting_for"]["approvals"] == 2


# Audit entries


@pytest.mark.parametrize(
    ("method", "path", "body", "action"),
    [
        ("POST", "/v1/principals", {"name": "{new}", "kind": "human"}, "principal.create"),
        ("PUT", "/v1/grants", {"principal": "{name}", "grants": []}, "grants.set"),
        ("POST", "/v1/tokens", {"principal": "{name}"}, "token.issue"),
        ("DELETE", "/v1/tokens/{token}", None, "token.revoke"),
        ("DELETE", "/v1/principals/{name}", None, "principal.deactivate"),
        ("POST", "/v1/policies", "a policy", "policy.create"),
        ("POST", "/v1/suites", "a suite", "suite.register"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_action_of_an_admin_is_one_audit_entry(world, method, path, body, action):
    name, _ = world.a_principal()
    world.a_suite()
    (token,) = world.made("GET", "/v1/tokens", by="admin", params={"principal": name})["items"]
    names = {"{name}": name, "{token}": token["id"], "{new}": a_name()}
    documents = {"a policy": a_policy(world.suite), "a suite": a_suite()}
    if isinstance(body, dict):
        body = {key: names.get(str(value), value) for key, value in body.items()}
    for placeholder, value in names.items():
        path = path.replace(placeholder, value)
    before = world.verification("registry")

    response = world.call(method, path, by="admin", json=documents.get(str(body), body))

    assert response.is_success, response.text
    entry = world.last_entry("registry")
    assert (entry["action"], entry["principal"]) == (action, "admin")
    assert (entry["previous"], entry["sequence"]) == (before["head"], before["entries"] + 1)
    assert world.verification("registry")["entries"] == before["entries"] + 1


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/principals", {"name": "mallory", "kind": "human"}),
        ("PUT", "/v1/grants", {"principal": "reader", "grants": []}),
        ("POST", "/v1/tokens", {"principal": "admin"}),
        ("DELETE", f"/v1/tokens/{uuid.UUID(int=1)}", None),
    ],
    ids=["principals", "grants", "tokens", "revoking"],
)
def test_only_an_admin_of_the_whole_registry_changes_access(world, method, path, body):
    _, token = world.a_principal(None, ("admin", world.namespace))
    response = world.call(method, path, by=token, json=body)
    assert (response.status_code, code(response)) == (403, "forbidden")


# The first principals, created by the server's CLI


def test_an_existing_principal_keeps_its_grants(world, sessions):
    name, token = world.a_principal(None, ("publisher", world.namespace))
    world.a_base()
    world.a_prefix()

    ensure_principal(sessions, name=name, kind=PrincipalKind.HUMAN, grants=set())

    assert world.call("GET", world.path, by=token).status_code == 200


def test_a_known_token_is_reused_while_it_is_valid(world, sessions):
    name, known = world.a_principal()
    assert ensure_token(sessions, principal=name, known=known, lifetime=DAY) == known


@pytest.mark.parametrize("known", [None, "not-a-token"])
def test_without_a_valid_token_a_new_one_is_issued(world, sessions, known):
    name, _ = world.a_principal()
    token = ensure_token(sessions, principal=name, known=known, lifetime=DAY)
    assert is_authenticated(world, token)


def test_the_token_of_another_principal_is_not_reused(world, sessions):
    name, _ = world.a_principal()
    _, theirs = world.a_principal()
    assert ensure_token(sessions, principal=name, known=theirs, lifetime=DAY) != theirs


@pytest.mark.parametrize("namespace", ["**", "-a", "a/b", ""])
def test_a_grant_on_an_invalid_namespace_is_refused(world, namespace):
    name, _ = world.a_principal()
    response = set_grants(world, name, ("reader", namespace))
    assert (response.status_code, code(response)) == (422, "invalid-request")


def test_a_name_that_differs_by_case_only_is_refused_with_the_existing_one(world, sessions):
    name = a_name()
    body = {"name": name, "kind": "human"}
    world.made("POST", "/v1/principals", by="admin", json=body)
    for other in (name.upper(), name.title()):
        response = world.call("POST", "/v1/principals", by="admin", json=body | {"name": other})
        assert (response.status_code, code(response)) == (409, "already-exists")
        assert f"The principal {name} already exists" in response.json()["detail"]
    with pytest.raises(IntegrityError), sessions.begin() as session:
        session.add(Principal(name.upper(), PrincipalKind.HUMAN, NOW))
