"""Every route, called by every kind of caller: the table decides, and refusals write nothing."""

import base64
import json
import uuid

import pytest
from fastapi.routing import iter_route_contexts
from sqlalchemy import text

from app.domain.identity.access import Role
from app.services.transactions import Transactions
from tests.api.access import PAGE, ROUTES, Access, Held, Scope, rendered
from tests.http.conftest import ANONYMOUS, CALLERS, LIMITED
from tests.support.adapters import a_config
from tests.support.builders import a_base_model, a_digest, a_policy, a_suite, weights
from tests.support.imported import INSPECT, a_task, the_results, the_samples


def commit_of(world):
    """Return the commit of an adapter as a Hugging Face client sends it."""
    readme = f"---\nbase_digest: {world.base}\n---\n".encode()
    files = {
        "adapter_config.json": a_config(),
        "adapter_model.safetensors": weights(9),
        "README.md": readme,
    }
    lines = [{"key": "header", "value": {"summary": "push"}}] + [
        {"key": "file", "value": {"path": path, "content": base64.b64encode(content).decode()}}
        for path, content in files.items()
    ]
    return "\n".join(json.dumps(line) for line in lines)


def a_push(world):
    described = {"base_model": world.base, "card": {}, "lineage": {}}
    parts = {"version": json.dumps(described), "config": a_config(), "weights": weights(8)}
    return {"files": {name: (name, content) for name, content in parts.items()}}


def a_control_run(world):
    return {"json": world.report(world.waiting, digest=world.base)}


def a_run_of_lm_eval(digest):
    """Return a function that builds the import of an lm-eval run; `digest` names the artifact."""

    def request(world):
        claim = {"suite": world.suite, "suite_version": "1", "digest": digest(world)}
        described = json.dumps(claim | {"map": [a_task()]})
        samples = the_samples("full", "voice_novice")
        return {
            "files": [
                ("evaluation", ("evaluation", described)),
                ("results", ("results.json", the_results("full").read_bytes())),
                ("samples", (samples.name, samples.read_bytes())),
            ]
        }

    return request


def a_log_of_inspect(digest):
    """Return a function that builds the import of an Inspect log; `digest` names the artifact."""

    def request(world):
        claim = {"suite": world.suite, "suite_version": "1", "digest": digest(world)}
        mapped = {
            "persona": {"metadata": "persona"},
            "locale": {"value": "en"},
            "metrics": {"polite": "tone"},
        }
        log = (INSPECT / "full.eval").read_bytes()
        return {
            "files": [
                ("evaluation", ("evaluation", json.dumps(claim | mapped))),
                ("log", ("log.eval", log)),
            ]
        }

    return request


def of_the_base(world):
    return world.base


def of_the_live_version(world):
    return world.live["digest"]


# The arguments that a request to a route needs to succeed.
EXAMPLES = {
    ("POST", "/v1/base-models"): lambda _: {"json": a_base_model()},
    ("POST", "/v1/base-models/{digest}/evaluations"): a_control_run,
    ("POST", "/v1/base-models/{digest}/evaluations/lm-eval"): a_run_of_lm_eval(of_the_base),
    ("POST", "/v1/base-models/{digest}/evaluations/inspect"): a_log_of_inspect(of_the_base),
    ("POST", "/v1/prefixes/{namespace}/{name}/versions/{number}/evaluations/lm-eval"): (
        a_run_of_lm_eval(of_the_live_version)
    ),
    ("POST", "/v1/prefixes/{namespace}/{name}/versions/{number}/evaluations/inspect"): (
        a_log_of_inspect(of_the_live_version)
    ),
    ("POST", "/v1/prefixes"): lambda world: {
        "json": {"namespace": world.namespace, "name": "another", "owner": "admin"}
    },
    ("POST", "/v1/prefixes/{namespace}/{name}/uploads"): lambda _: {
        "json": {"sha256": a_digest(), "size_bytes": 5}
    },
    ("POST", "/v1/prefixes/{namespace}/{name}/versions"): a_push,
    ("POST", "/v1/prefixes/{namespace}/{name}/versions/{number}/revoke"): lambda _: {
        "json": {"reason": "it leaks"}
    },
    ("POST", "/v1/prefixes/{namespace}/{name}/versions/{number}/evaluations"): lambda world: {
        "json": world.report(world.live)
    },
    ("GET", "/v1/prefixes/{namespace}/{name}/versions/{number}/gate"): lambda _: {
        "params": {"channel": "production"}
    },
    ("POST", "/v1/evaluations/{evaluation_id}/void"): lambda _: {
        "json": {"reason": "the harness broke"}
    },
    ("POST", "/v1/suites"): lambda _: {"json": a_suite()},
    ("POST", "/v1/policies"): lambda world: {"json": a_policy(world.suite)},
    ("POST", "/v1/policies/plan"): lambda world: {"json": {"policy": a_policy(world.suite)}},
    ("PUT", "/v1/prefixes/{namespace}/{name}/channels/{channel}"): lambda world: {
        "json": {"policy": world.policy["name"], "policy_version": 1}
    },
    ("POST", "/v1/prefixes/{namespace}/{name}/channels/{channel}/rollback"): lambda _: {
        "json": {"generation": 1, "reason": "the new one is worse"}
    },
    ("POST", "/v1/prefixes/{namespace}/{name}/promotions"): lambda world: {
        "json": {"channel": "production", "version": world.waiting["number"], "reason": "better"}
    },
    ("POST", "/v1/promotions/{promotion_id}/reviews"): lambda _: {"json": {"verdict": "approve"}},
    ("POST", "/v1/promotions/{promotion_id}/break-glass"): lambda _: {
        "json": {"reason": "the fleet is down, and this mends it"}
    },
    **{
        ("GET", path): lambda _: {"params": {"subject": "registry"}}
        for path in ("/v1/audit", "/v1/audit/verify", "/v1/audit/export")
    },
    ("GET", "/v1/audit/proofs/inclusion"): lambda _: {"params": {"subject": "registry"}},
    ("GET", "/v1/audit/proofs/consistency"): lambda world: {
        "params": {"first": world.checkpoint["size"]}
    },
    ("PUT", "/v1/namespaces/{namespace}/quota"): lambda _: {
        "json": {"stored_bytes": 1 << 40, "versions": None, "requests": None}
    },
    ("POST", "/v1/principals"): lambda _: {"json": {"name": "a-new-one", "kind": "human"}},
    ("PUT", "/v1/principals/{principal}/identities"): lambda _: {"json": {"identities": []}},
    ("PUT", "/v1/grants"): lambda _: {"json": {"principal": "reader", "grants": []}},
    ("POST", "/v1/tokens"): lambda _: {"json": {"principal": "reader"}},
    ("POST", "/api/repos/create"): lambda world: {
        "json": {"name": "another", "organization": world.namespace}
    },
    ("POST", "/api/models/{namespace}/{name}/preupload/{revision}"): lambda _: {
        "json": {"files": []}
    },
    ("POST", "/{namespace}/{name}.git/info/lfs/objects/batch"): lambda _: {
        "json": {"operation": "upload", "objects": [{"oid": "a" * 64, "size": 5}]}
    },
    ("POST", "/api/models/{namespace}/{name}/commit/{revision}"): lambda world: {
        "content": commit_of(world),
        "headers": {"Content-Type": "application/x-ndjson"},
    },
}


def names_in(world, path, caller):
    """Return values for the path parameters of a route that name existing objects."""
    subject = {"/v1/suites": (world.suite, "1"), "/v1/policies": (world.policy["name"], "1")}
    name, version = subject.get("/".join(path.split("/")[:3]), ("voice", None))
    if path.endswith("/manifest"):
        name = world.sealed_suite
    evaluation, file = world.evaluation, "adapter_config.json"
    if path.startswith("/v1/evaluations/{evaluation_id}/files"):
        evaluation, file = world.sampled, "samples.jsonl"
    held = caller[1] if caller[0] is Role.PUBLISHER else Held.HERE
    pending = world.pending.get(held, world.pending[Held.HERE])
    return {
        "namespace": world.namespace,
        "name": name,
        "version": version,
        "number": world.live["number"],
        "channel": "production",
        "file": file,
        "path": "adapter_config.json",
        "revision": "main",
        "digest": world.base,
        "evaluation_id": evaluation["id"],
        "promotion_id": pending["id"],
        "token_id": world.token_id,
        "principal": world.other_principal,
    }


def send(world, route, caller, **absent):
    """Call a route as `caller`; `absent` replaces path parameters by names of absent objects."""
    method, path = route
    address = path.replace(":path}", "}").format(**names_in(world, path, caller) | absent)
    request = EXAMPLES.get(route, lambda _: {})(world)
    arguments = request | {"follow_redirects": False}
    if caller[0] == ANONYMOUS:
        return world.client.request(method, address, **arguments)
    by = LIMITED if caller[0] == LIMITED else caller
    return world.call(method, address, by=world.tokens[by], **arguments)


def expected(access, caller):
    """Return the status that refuses a caller, or None if the route opens."""
    if caller[0] == ANONYMOUS:
        return None if access.is_open else 401
    # A token that is limited to channels has the role reader on its principal's namespaces.
    role, held = (Role.READER, Held.HERE) if caller[0] == LIMITED else caller
    return access.refusal(role, held)


def fits(response, access, refusal):
    if refusal is not None:
        return response.status_code == refusal
    if access.answers is not None:
        return response.status_code == access.answers
    return response.status_code < 400


def parametrised(routes):
    return pytest.mark.parametrize("route", routes, ids=[" ".join(route) for route in routes])


def test_the_table_lists_exactly_the_routes(app):
    served = {
        (method, route.path)
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ()  # the pages are mounted, with their own role checks
    } - {("GET", "/admin"), ("HEAD", "/admin")}
    assert served == set(ROUTES)


def test_the_page_shows_the_table():
    """`python -m tests.api.access` updates it; read the difference first."""
    assert PAGE.read_text() == rendered()


@parametrised(list(ROUTES))
def test_a_route_opens_only_to_the_roles_in_the_table(governed, recorder, route):
    wrong = {}
    access = ROUTES[route]
    for caller in [*CALLERS, (LIMITED, None), (ANONYMOUS, None)]:
        refusal = expected(access, caller)
        with recorder.rolled_back():
            before = 0 if refusal is None else recorder.writes()
            response = send(governed, route, caller)
            written = 0 if refusal is None else recorder.writes() - before
        if not fits(response, access, refusal) or written:
            wrong[caller] = (response.status_code, response.text[:200], written)
    assert wrong == {}


# Hidden objects look as if they did not exist


ABSENT = {
    "evaluation_id": str(uuid.UUID(int=1)),
    "promotion_id": str(uuid.UUID(int=1)),
    "name": "absent",
    "number": "9",
}
HIDING = [
    route for route, access in ROUTES.items() if access.scope is Scope.PREFIX and route[0] != "HEAD"
]


def absent_for(route, access: Access, caller):
    """Return the path parameter to change so that the path names an absent object."""
    for parameter in ("evaluation_id", "promotion_id"):
        if parameter in route[1]:
            return parameter
    return "name"


def without(response, *names):
    """Return status, text and header names of a response, without the names that it repeats."""
    body = response.text
    for name in names:
        body = body.replace(str(name), "...")
    return response.status_code, body, sorted(set(response.headers) - {"content-length"})


@parametrised(HIDING)
def test_hidden_objects_are_reported_as_absent_at_the_same_cost(governed, recorder, route):
    compared, different = 0, {}
    access = ROUTES[route]
    for caller in [*CALLERS, (LIMITED, None)]:
        if expected(access, caller) != 404:
            continue
        compared += 1
        changed = absent_for(route, access, caller)
        existing = names_in(governed, route[1], caller)[changed]
        responses = []
        for name in (existing, ABSENT[changed]):
            with recorder.rolled_back():
                recorder.statements.clear()
                response = send(governed, route, caller, **{changed: name})
            responses.append((without(response, name), len(recorder.statements)))
        if responses[0] != responses[1]:
            different[caller] = responses
    assert compared >= 7
    assert different == {}


UNRELEASED = [
    route for route in HIDING if ROUTES[route].roles >= {Role.READER} and "{number}" in route[1]
]


@parametrised(UNRELEASED)
@pytest.mark.parametrize("caller", [(Role.READER, Held.HERE), (LIMITED, None)], ids=str)
def test_an_unreleased_version_looks_absent_to_a_reader_at_the_same_cost(
    governed, recorder, route, caller
):
    responses = []
    for number in (governed.waiting["number"], 9):
        with recorder.rolled_back():
            recorder.statements.clear()
            response = send(governed, route, caller, number=number)
        responses.append((without(response, f"version {number}"), len(recorder.statements)))
    assert responses[0] == responses[1]
    assert responses[0][0][0] == 404


# Authority that ends after it was checked on arrival


ENDS = {
    "token-revoked": ("UPDATE api_token SET revoked_at = now() WHERE principal_id = :id", 401),
    "token-expired": ("UPDATE api_token SET expires_at = now() WHERE principal_id = :id", 401),
    "deactivated": ("UPDATE principal SET deactivated_at = now() WHERE id = :id", 401),
    "grants-removed": ("DELETE FROM role_grant WHERE principal_id = :id", None),
}

ENTRIES = text("SELECT sum(length) FROM audit_chain")

# These send a body, but only read.
WITHOUT_EFFECT = {
    ("POST", "/v1/policies/plan"),
    ("POST", "/api/validate-yaml"),
    ("POST", "/api/models/{namespace}/{name}/preupload/{revision}"),
}
CHANGING = [
    route for route in ROUTES if route[0] not in {"GET", "HEAD"} and route not in WITHOUT_EFFECT
]


def opener(access):
    """Return a caller to whom a route opens."""
    admins = [each for each in CALLERS if each[0] is Role.ADMIN]
    return next(each for each in [*admins, *CALLERS] if expected(access, each) is None)


@pytest.fixture
def ends_on_the_way(governed, recorder, monkeypatch):
    """Return a function that ends a caller's authority just before a transaction opens."""

    def ends_on_the_way(caller, statement):
        ended, opened = [], Transactions._opened
        held = {"id": governed.made("GET", "/v1/me", by=governed.tokens[caller])["id"]}

        def after_the_end(*arguments, **options):
            if not ended:
                ended.append(recorder.connection.execute(text(statement), held).rowcount)
            return opened(*arguments, **options)

        monkeypatch.setattr(Transactions, "_opened", after_the_end)
        return ended

    return ends_on_the_way


@pytest.mark.parametrize("end", ENDS)
@parametrised(CHANGING)
def test_a_route_takes_no_effect_for_an_authority_that_ended_on_the_way(
    governed, recorder, ends_on_the_way, route, end
):
    statement, refusal = ENDS[end]
    caller = opener(ROUTES[route])
    with recorder.rolled_back():
        before = recorder.connection.scalar(ENTRIES)
        ended = ends_on_the_way(caller, statement)
        response = send(governed, route, caller)
        assert len(ended) == 1
        assert ended[0] > 0
        assert recorder.connection.scalar(ENTRIES) == before
    assert response.status_code in ({refusal} if refusal else {403, 404}), response.text
