"""Visibility: an object that is not visible to a caller looks exactly like a missing one."""

import uuid

import pytest
from fastapi.routing import iter_route_contexts

from app.domain.identity.tokens import new_token
from tests.support.builders import World, a_digest, code
from tests.support.session.in_process import InProcessClient

OPEN = {
    "/admin",  # redirects to the pages, which tests/pages covers
    "/docs",
    "/healthz",
    "/metrics",
    "/openapi.json",
    "/readyz",
}


def routes_of(app):
    return [
        (method, route.path)
        for route in iter_route_contexts(app.routes)
        for method in sorted(route.methods or ())
    ]


def guarded_routes(app):
    return [(method, path) for method, path in routes_of(app) if path not in OPEN]


def example_path(path):
    """Return a route's path with a well-formed value for each parameter."""
    examples = {
        "digest": a_digest(),
        "number": 1,
        "version": 1,
        "name": "voice",
        "file": "adapter_config.json",
        "path": "adapter_config.json",
        "evaluation_id": uuid.UUID(int=1),
        "promotion_id": uuid.UUID(int=1),
        "token_id": uuid.UUID(int=1),
    }
    for part in path.replace(":path}", "}").split("{")[1:]:
        name = part.partition("}")[0]
        value = str(examples.get(name, "example"))
        path = path.replace(f"{{{name}:path}}", value).replace(f"{{{name}}}", value)
    return path


# Without a token


def test_the_guarded_routes_are_found(app):
    assert len(guarded_routes(app)) > 35
    paths = {path for _, path in routes_of(app)}
    assert paths >= {"/healthz", "/readyz", "/docs", "/openapi.json"}


def test_every_route_requires_a_token(client):
    statuses = {
        (method, path): client.request(method, example_path(path)).status_code
        for method, path in guarded_routes(client.app)
    }
    assert {route: status for route, status in statuses.items() if status != 401} == {}


def test_a_refusal_without_a_token_names_the_scheme(client):
    wrong = []
    for method, path in guarded_routes(client.app):
        if path.startswith("/v1/"):
            response = client.request(method, example_path(path))
            found = (code(response), response.headers["www-authenticate"])
            wrong += [(method, path, found)] if found != ("unauthenticated", "Bearer") else []
    assert wrong == []


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param("Bearer prg_unknown", id="no-token"),
        pytest.param("Bearer prg_" + "0" * 42, id="wrong-checksum"),
        pytest.param("Bearer prg_000000000000000000000000000000000000" + "1OXkZe", id="look-alike"),
        pytest.param("Bearer", id="nothing"),
        pytest.param("Bearer ", id="blank"),
        pytest.param("Basic YWRtaW46YWRtaW4=", id="another-scheme"),
        pytest.param("Bearer \u00fc", id="not-ascii"),
    ],
)
def test_an_invalid_token_is_refused(client, authorization):
    headers = {"Authorization": authorization.encode("latin-1")}
    response = client.get("/v1/prefixes", headers=headers)
    assert (response.status_code, code(response)) == (401, "unauthenticated")
    assert response.headers["www-authenticate"] == "Bearer"


def test_a_well_formed_token_that_was_never_issued_is_refused(client):
    response = client.get("/v1/prefixes", headers={"Authorization": f"Bearer {new_token()}"})
    assert (response.status_code, code(response)) == (401, "unauthenticated")


# In another namespace


@pytest.fixture(scope="module")
def governed(app, tokens):
    """A world with a live version, an unreleased one, a pending promotion and an evaluation."""
    with InProcessClient(app, raise_server_exceptions=False) as client:
        world = World(client, dict(tokens))
        world.live = world.a_live_version(seed=1)
        world.unreleased = world.an_evaluated_version(seed=2)
        world.pending = world.request(world.unreleased).json()
        listed = world.made("GET", f"{world.path}/versions/2/evaluations", by="publisher")
        world.evaluation = listed["items"][0]
        world.tokens["stranger"] = world.a_stranger("admin")
        world.tokens["local-reader"] = world.a_principal(None, ("reader", world.namespace))[1]
        yield world


BELOW_PREFIX = [
    ("GET", "", None),
    ("GET", "/versions", None),
    ("GET", "/versions/1", None),
    ("GET", "/versions/1/files/adapter_config.json", None),
    ("GET", "/versions/1/evaluations", None),
    ("GET", "/versions/1/gate?channel=production", None),
    ("GET", "/channels/production", None),
    ("GET", "/channels/production/history", None),
    ("POST", "/uploads", {"sha256": a_digest(), "size_bytes": 5}),
    ("POST", "/versions/1/revoke", {"reason": "I want to"}),
    ("POST", "/promotions", {"channel": "production", "version": 1, "reason": "I want to"}),
    ("PUT", "/channels/production", {"policy": "any", "policy_version": 1}),
    ("POST", "/channels/production/rollback", {"generation": 1, "reason": "I want to"}),
]
BELOW_PREFIX_IDS = [f"{method}{path}".replace("/", "-") for method, path, _ in BELOW_PREFIX]


@pytest.mark.parametrize("caller", ["stranger", "auditor"])
@pytest.mark.parametrize(("method", "path", "body"), BELOW_PREFIX, ids=BELOW_PREFIX_IDS)
def test_an_object_that_is_not_visible_looks_missing(governed, caller, method, path, body):
    hidden = governed.call(method, f"{governed.path}{path}", by=caller, json=body)
    absent = f"/v1/prefixes/{governed.namespace}/other"
    missing = governed.call(method, f"{absent}{path}", by=caller, json=body)

    assert hidden.status_code == missing.status_code == 404
    assert hidden.text.replace(governed.prefix, "") == missing.text.replace(
        f"{governed.namespace}/other", ""
    )
    assert dict(hidden.headers).keys() == dict(missing.headers).keys()


def test_a_prefix_that_is_not_visible_resolves_like_a_missing_one(governed):
    hidden = governed.resolve(by="stranger")
    path = f"/v1/resolve/{governed.namespace}/other"
    missing = governed.call("GET", path, by="stranger")
    assert hidden.status_code == missing.status_code == 404
    assert hidden.text.replace("voice", "") == missing.text.replace("other", "")


@pytest.mark.parametrize("caller", ["stranger", "local-reader", "auditor"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/promotions/{promotion}", None),
        ("POST", "/v1/promotions/{promotion}/reviews", {"verdict": "approve"}),
        ("POST", "/v1/promotions/{promotion}/withdraw", None),
        ("POST", "/v1/promotions/{promotion}/break-glass", {"reason": "because I really want to"}),
        ("POST", "/v1/evaluations/{evaluation}/void", {"reason": "I want to"}),
    ],
)
def test_an_object_that_is_not_visible_looks_missing_by_id(governed, caller, method, path, body):
    ids = {"promotion": governed.pending["id"], "evaluation": governed.evaluation["id"]}
    absent = str(uuid.uuid4())
    hidden = governed.call(method, path.format(**ids), by=caller, json=body)
    missing = governed.call(
        method, path.format(promotion=absent, evaluation=absent), by=caller, json=body
    )

    assert hidden.status_code == missing.status_code == 404
    text = hidden.text.replace(ids["promotion"], "").replace(ids["evaluation"], "")
    assert text == missing.text.replace(absent, "")


@pytest.mark.parametrize("path", ["/v1/prefixes", "/v1/promotions"])
def test_lists_omit_objects_that_are_not_visible(governed, path):
    listed = governed.made("GET", path, by="stranger", params={"limit": 200})["items"]
    assert listed == []


def test_the_refused_requests_changed_nothing(governed):
    assert governed.channel()["generation"] == 1
    assert governed.promotion(governed.pending)["state"] == "pending"
    assert governed.verification()["valid"]


# A reader


READABLE = [
    "{path}",
    "{path}/versions/1",
    "{path}/versions/1/files/adapter_config.json",
    "{path}/channels/production",
    "{path}/channels/production/history",
    "/v1/resolve/{prefix}",
    "/v1/base-models/{base}",
]


@pytest.mark.parametrize("caller", ["reader", "local-reader"])
@pytest.mark.parametrize("path", READABLE)
def test_a_reader_sees_released_versions(governed, caller, path):
    path = path.format(path=governed.path, prefix=governed.prefix, base=governed.base)
    assert governed.call("GET", path, by=caller).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/versions/2",
        "/versions/2/files/adapter_config.json",
        "/versions/1/evaluations",
        "/versions/2/evaluations",
        "/versions/1/gate?channel=production",
        "/versions/2/gate?channel=production",
    ],
)
def test_a_reader_does_not_see_unreleased_versions(governed, path):
    response = governed.call("GET", f"{governed.path}{path}", by="local-reader")
    assert (response.status_code, code(response)) == (404, "not-found")


def test_a_reader_sees_an_unreleased_version_no_more_than_an_absent_one(governed):
    unreleased = governed.call("GET", f"{governed.path}/versions/2", by="local-reader")
    absent = governed.call("GET", f"{governed.path}/versions/9", by="local-reader")
    assert unreleased.text.replace("version 2", "") == absent.text.replace("version 9", "")


def test_a_reader_lists_only_released_versions(governed):
    listed = governed.made("GET", f"{governed.path}/versions", by="local-reader")["items"]
    assert [version["number"] for version in listed] == [1]


def test_a_reader_does_not_see_the_number_of_versions(governed):
    assert governed.made("GET", governed.path, by="local-reader")["latest"] is None
    assert governed.made("GET", governed.path, by="publisher")["latest"] == 2


def test_a_reader_sees_no_promotions(governed):
    assert governed.made("GET", "/v1/promotions", by="local-reader")["items"] == []


def test_a_reader_does_not_see_a_prefix_that_serves_nothing(world):
    world.a_version()
    world.a_channel()
    _, reader = world.a_principal(None, ("reader", world.namespace))
    assert world.call("GET", world.path, by=reader).status_code == 404
    assert world.call("GET", f"{world.path}/versions", by=reader).status_code == 404
    assert world.made("GET", "/v1/prefixes", by=reader)["items"] == []


def test_a_reader_no_longer_sees_a_version_that_channels_stopped_serving(world):
    world.a_live_version(seed=1)
    world.a_live_version(seed=2)
    _, reader = world.a_principal(None, ("reader", world.namespace))
    assert world.call("GET", f"{world.path}/versions/1", by=reader).status_code == 404
    assert world.call("GET", f"{world.path}/versions/2", by=reader).status_code == 200


WRITES = [each for each in BELOW_PREFIX if each[0] != "GET"]


@pytest.mark.parametrize(("method", "path", "body"), WRITES, ids=[each[1] for each in WRITES])
def test_a_reader_changes_nothing(governed, method, path, body):
    response = governed.call(method, f"{governed.path}{path}", by="local-reader", json=body)
    assert (response.status_code, code(response)) == (404, "not-found")


# An auditor


@pytest.mark.parametrize("path", ["/v1/audit", "/v1/audit/verify", "/v1/audit/export"])
def test_an_auditor_reads_every_chain(governed, path):
    for subject in ("registry", f"prefix:{governed.prefix}"):
        response = governed.call("GET", path, by="auditor", params={"subject": subject})
        assert response.status_code == 200


@pytest.mark.parametrize("path", ["/v1/audit", "/v1/audit/verify", "/v1/audit/export"])
@pytest.mark.parametrize("role", ["admin", "publisher", "evaluator", "approver-1", "reader"])
def test_only_auditors_read_chains(governed, path, role):
    response = governed.call("GET", path, by=role, params={"subject": "registry"})
    assert (response.status_code, code(response)) == (403, "forbidden")


def test_an_auditor_of_a_namespace_does_not_read_the_registry_s_chain(world):
    _, token = world.a_principal(None, ("auditor", world.namespace))
    response = world.call("GET", "/v1/audit", by=token, params={"subject": "registry"})
    assert (response.status_code, code(response)) == (403, "forbidden")


@pytest.mark.parametrize(
    "path", ["/v1/base-models/{base}", "/v1/suites/{suite}/1", "/v1/policies/any/1"]
)
def test_an_auditor_sees_nothing_but_the_audit_log(governed, path):
    path = path.format(base=governed.base, suite=governed.suite)
    response = governed.call("GET", path, by="auditor")
    assert (response.status_code, code(response)) == (403, "forbidden")


@pytest.mark.parametrize("path", ["/v1/prefixes", "/v1/promotions"])
def test_lists_are_empty_for_an_auditor(governed, path):
    assert governed.made("GET", path, by="auditor")["items"] == []


# A token that is limited to channels


@pytest.fixture(scope="module")
def staged(governed):
    """`governed` with version 1 on `staging` too, and an admin's token limited to that channel."""
    governed.a_channel("staging")
    governed.approve(governed.request(governed.live, channel="staging").json())
    governed.tokens["limited"] = governed.a_token("admin", channels=["staging"])
    return governed


def test_a_limited_token_resolves_its_channels(staged):
    assert staged.resolve(by="limited", channel="staging").json()["version"] == 1


@pytest.mark.parametrize("path", ["/channels/production", "/channels/production/history"])
def test_a_limited_token_does_not_see_other_channels(staged, path):
    response = staged.call("GET", f"{staged.path}{path}", by="limited")
    assert (response.status_code, code(response)) == (404, "not-found")


def test_another_channel_resolves_for_a_limited_token_like_a_missing_one(staged):
    other = staged.resolve(by="limited", channel="production")
    absent = staged.resolve(by="limited", channel="nowhere")
    assert other.status_code == absent.status_code == 404
    assert other.text.replace("production", "") == absent.text.replace("nowhere", "")


def test_a_prefix_shows_a_limited_token_no_other_channel(staged):
    prefix = staged.made("GET", staged.path, by="limited")
    assert [channel["name"] for channel in prefix["channels"]] == ["staging"]


def test_a_version_shows_a_limited_token_no_other_channel(staged):
    version = staged.made("GET", f"{staged.path}/versions/1", by="limited")
    assert version["channels"] == ["staging"]
    (listed,) = staged.made("GET", f"{staged.path}/versions", by="limited")["items"]
    assert listed["channels"] == ["staging"]


def test_a_limited_token_does_not_see_a_version_served_by_other_channels_only(world):
    world.a_live_version()
    limited = world.a_token("admin", channels=["staging"])
    assert world.call("GET", world.path, by=limited).status_code == 404
    assert world.call("GET", f"{world.path}/versions/1", by=limited).status_code == 404


@pytest.mark.parametrize(("method", "path", "body"), WRITES, ids=[each[1] for each in WRITES])
def test_a_limited_token_changes_nothing(staged, method, path, body):
    response = staged.call(method, f"{staged.path}{path}", by="limited", json=body)
    assert (response.status_code, code(response)) == (404, "not-found")


def test_a_limited_token_administers_nothing(staged):
    body = {"principal": "admin"}
    response = staged.call("POST", "/v1/tokens", by="limited", json=body)
    assert (response.status_code, code(response)) == (403, "forbidden")
