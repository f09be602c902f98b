"""Every refusal, provoked: its code, its status and its RFC 9457 document."""

import asyncio
import json
import re
import uuid
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import select, text

from app.db.idempotency import claim_key
from app.db.models import Principal
from app.domain import errors
from app.domain.errors import FaultyError, RegistryError
from app.http.body_timeouts import BodyTimeoutMiddleware
from app.http.connections import LimitedProtocol
from app.http.limits import ConnectionLimits, InFlight
from app.http.problems import MEDIA_TYPE, STATUS
from tests.services.evidence.test_submissions_samples import jsonl, record, rows
from tests.support.blobs import MemoryBlobs
from tests.support.builders import a_base_model, a_digest, a_policy, a_suite, code, results
from tests.support.raw_http import opened, received
from tests.support.session.fixtures import LIMITS
from tests.support.session.in_process import InProcessClient
from tests.support.session.served import serving

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "reference" / "problems.md"


class BrokenBlobs(MemoryBlobs):
    """A store with a bug in it."""

    def presigned_url(self, digest, *, file_name, lifetime_s):
        raise RuntimeError("the secret key is hunter2")


class Stage:
    """A world in which every refusal can be provoked, by replacing or tampering with its parts."""

    def __init__(self, world, world_on, tamper, request):
        self.world = world
        self.tamper = tamper
        self._world_on = world_on
        self._request = request

    @property
    def administered(self):
        return self._request.getfixturevalue("administered")

    def world_on(self, **replaced):
        """Return the same world on a server with some parts replaced."""
        other = self._world_on(**replaced)
        other.namespace, other.prefix, other.path = (
            self.world.namespace,
            self.world.prefix,
            self.world.path,
        )
        return other


@pytest.fixture
def stage(world, world_on, tamper, request):
    return Stage(world, world_on, tamper, request)


# One function for each class of refusal, named after its code.


def audit_log_broken(stage):
    world, connection = stage.administered
    world.checkpoint()
    connection.execute(text("ALTER TABLE audit_node DISABLE TRIGGER USER"))
    connection.execute(text("DELETE FROM audit_node"))
    return world.call("POST", "/v1/audit/checkpoints", by="admin")


def checkpoints_not_configured(stage):
    keyless = stage.world_on(signer=None)
    return keyless.call("POST", "/v1/audit/checkpoints", by="admin")


def malformed_request(stage):
    query = {"cursor": "x"}
    return stage.world.call("GET", "/v1/prefixes", by="reader", params=query)


def unauthenticated(stage):
    return stage.world.client.get("/v1/prefixes")


def forbidden(stage):
    return stage.world.call("POST", "/v1/suites", by="reader", json=a_suite())


def separation_of_duties(stage):
    world = stage.world
    _, token = world.a_principal(
        None, ("publisher", world.namespace), ("approver", world.namespace)
    )
    promotion = world.request(world.an_evaluated_version(), by=token).json()
    return world.review(promotion, by=token)


def not_found(stage):
    return stage.world.call("GET", stage.world.path, by="publisher")


def channel_empty(stage):
    stage.world.a_version()
    stage.world.a_channel()
    return stage.world.resolve()


def version_revoked(stage):
    stage.world.revoke(stage.world.a_live_version())
    return stage.world.resolve()


def already_exists(stage):
    document = a_suite()
    stage.world.made("POST", "/v1/suites", by="admin", json=document)
    other = document | {"locales": ["fr"]}
    return stage.world.call("POST", "/v1/suites", by="admin", json=other)


def base_model_differs(stage):
    document = a_base_model()
    stage.world.made("POST", "/v1/base-models", by="publisher", json=document)
    other = document | {"name": "other/llama"}
    return stage.world.call("POST", "/v1/base-models", by="publisher", json=other)


def base_model_mismatch(stage):
    stage.world.a_live_version()
    return stage.world.resolve(base_model=a_digest())


def evidence_for_another_artifact(stage):
    stage.world.a_suite()
    return stage.world.evaluate(stage.world.a_version(), digest=a_digest())


def evidence_reused(stage):
    stage.world.a_suite()
    for seed in (1, 2):
        version, content = stage.world.a_version(seed), jsonl(rows(2))
        response = record(stage.world, version, content)
    return response


def already_void(stage):
    stage.world.a_suite()
    evaluation = stage.world.evaluate(stage.world.a_version()).json()
    stage.world.void(evaluation)
    return stage.world.void(evaluation)


def principal_deactivated(stage):
    name, _ = stage.world.a_principal()
    stage.world.call("DELETE", f"/v1/principals/{name}", by="admin")
    return stage.world.call("POST", "/v1/tokens", by="admin", json={"principal": name})


def policy_unsatisfiable(stage):
    stage.world.a_version()
    return stage.world.bind(stage.world.a_policy(approvals={"required": 9}))


def quota_exceeded(stage):
    stage.world.a_version()
    path = f"/v1/namespaces/{stage.world.namespace}/quota"
    body = {"stored_bytes": None, "versions": 1, "requests": None}
    stage.world.made("PUT", path, by="admin", json=body)
    return stage.world.push(seed=2)


def precondition_failed(stage):
    stage.world.a_version()
    channel = stage.world.a_channel()
    return stage.world.bind(channel["policy"], headers={"If-None-Match": "*"})


def gate_not_configured(stage):
    return stage.world.request(stage.world.a_version())


def gate_not_passed(stage):
    version = stage.world.a_version()
    stage.world.a_channel()
    return stage.world.request(version)


def nothing_to_change(stage):
    return stage.world.request(stage.world.a_live_version())


def already_reviewed(stage):
    promotion = stage.world.a_promotion()
    stage.world.review(promotion, by="approver-1")
    return stage.world.review(promotion, by="approver-1")


def invalid_transition(stage):
    promotion = stage.world.a_promotion()
    stage.world.withdraw(promotion)
    return stage.world.withdraw(promotion)


def upload_incomplete(stage):
    world = stage.world
    world.a_base()
    world.a_prefix()
    announced = {"sha256": a_digest(), "size_bytes": 5}
    upload = world.made("POST", f"{world.path}/uploads", by="publisher", json=announced)
    uploads = {"config": upload["id"], "weights": upload["id"]}
    body = {"base_model": world.base, "uploads": uploads}
    return world.call("POST", f"{world.path}/versions", by="publisher", json=body)


def with_a_key(stage, key="a key of this test's", **changes):
    """Create a principal, named after the test's namespace, with an idempotency key."""
    headers = {"Idempotency-Key": f'"{stage.world.namespace} {key}"'}
    body = {"name": f"p-{stage.world.namespace}", "kind": "human"} | changes
    return stage.world.call("POST", "/v1/principals", by="admin", json=body, headers=headers)


def idempotency_key_reused(stage):
    assert with_a_key(stage).status_code == 201
    return with_a_key(stage, kind="service")


def request_in_flight(stage):
    sessions = stage.world.client.app.state.parts.sessions
    with sessions.begin() as session:
        admin = session.scalars(select(Principal.id).where(Principal.name == "admin")).one()
        assert claim_key(session, admin, f"{stage.world.namespace} a key of this test's")
        return with_a_key(stage)


def answer_not_kept(stage):
    world = stage.world
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"principal": "reader"}
    world.call("POST", "/v1/tokens", by="admin", json=body, headers=headers)
    return world.call("POST", "/v1/tokens", by="admin", json=body, headers=headers)


def headers_too_large(stage):
    headers = {f"X-{number}": "1" for number in range(101)}
    return stage.world.client.get("/v1/prefixes", headers=headers)


def too_many_requests(stage):
    return stage.world_on(in_flight=InFlight(0)).call("GET", "/v1/prefixes", by="reader")


def request_timeout(stage):
    world = stage.world
    paced = BodyTimeoutMiddleware(world.client.app, longest_pause_s=0.01)

    async def stalled(scope, receive, send):
        async def nothing():
            await asyncio.sleep(60)

        await paced(scope, nothing, send)

    world.client = InProcessClient(stalled)
    return world.call("POST", "/v1/suites", by="admin", json=a_suite())


def invalid_request(stage):
    body = a_suite() | {"colour": "red"}
    return stage.world.call("POST", "/v1/suites", by="admin", json=body)


def invalid_artifact(stage):
    stage.world.a_base()
    stage.world.a_prefix()
    return stage.world.push(weights=b"no tensors")


def invalid_evaluation(stage):
    stage.world.a_suite()
    return stage.world.evaluate(stage.world.a_version(), results=results(metric="speed"))


def invalid_suite(stage):
    return stage.world.call("POST", "/v1/suites", by="admin", json=a_suite(locales=["en"] * 2))


def invalid_policy(stage):
    document = a_policy("no-such-suite")
    return stage.world.call("POST", "/v1/policies", by="admin", json=document)


def invalid_allocation(stage):
    stage.world.a_version()
    return stage.world.request(allocation=[{"version": 1, "weight": 1}])


def unknown_base_model(stage):
    stage.world.a_prefix()
    return stage.world.push(version=json.dumps({"base_model": a_digest()}))


def unknown_reference(stage):
    body = {"principal": "nobody-at-all"}
    return stage.world.call("POST", "/v1/tokens", by="admin", json=body)


def too_large(stage):
    stage.world.a_base()
    stage.world.a_prefix()
    return stage.world.push(config=b" " * (LIMITS.config_bytes + 1))


def unsupported_media_type(stage):
    headers = {"Content-Type": "text/plain"}
    return stage.world.call("POST", "/v1/policies", by="admin", content="x", headers=headers)


def range_not_satisfiable(stage):
    stage.world.a_version()
    path = f"{stage.world.path}/versions/1/files/adapter_config.json"
    headers = {"Range": "bytes=999999-"}
    return stage.world.call("GET", path, by="publisher", headers=headers)


def damaged_object(stage):
    version = stage.world.a_version(seed=uuid.uuid4().int % 1_000_000 + 1_000)
    weights = version["files"][1]
    stage.tamper(weights["sha256"], None)
    path = f"{stage.world.path}/versions/1/files/{weights['name']}"
    return stage.world.call("GET", path, by="publisher")


def unavailable(stage):
    world = stage.world_on(blobs=MemoryBlobs(puts_left=0))
    world.a_base()
    world.a_prefix()
    return world.push()


def too_many_connections(stage):
    class Closed(LimitedProtocol):
        limits = ConnectionLimits(connections=0)

    with serving(stage.world.client.app, http=Closed) as url, opened(url) as connection:
        head, _, body = received(connection).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ") for line in lines)
    return httpx2.Response(int(first.split()[1]), headers=headers, content=body)


def subject_changed(stage):
    promotion = stage.world.a_promotion()
    return stage.world.review(promotion, by="approver-1", subject_digest=a_digest())


# Refusals by the framework, and unexpected errors


def no_such_path(stage):
    return stage.world.call("GET", "/v1/no-such-thing", by="reader")


def no_such_method(stage):
    return stage.world.call("DELETE", "/v1/prefixes", by="reader")


def broken_json(stage):
    headers = {"Content-Type": "application/json"}
    return stage.world.call("POST", "/v1/suites", by="admin", content="{", headers=headers)


def a_bug(stage):
    stage.world.a_live_version()
    return stage.world_on(blobs=BrokenBlobs()).resolve()


def refusals(kind=RegistryError):
    """Return every class of refusal that has a code."""
    found = [] if kind in {RegistryError, FaultyError} else [kind]
    for below in kind.__subclasses__():
        found += refusals(below)
    return found


REFUSALS = sorted(refusals(), key=lambda error: error.code)
PROVOKED_BY = {error: globals().get(error.code.replace("-", "_")) for error in REFUSALS}
OTHERS = {
    "no-such-path": (no_such_path, 404, "not-found"),
    "no-such-method": (no_such_method, 405, "method-not-allowed"),
    "broken-json": (broken_json, 400, "malformed-request"),
    "a-bug": (a_bug, 500, "internal-error"),
}


def require_problem(response, status, problem):
    """Assert the members and the media type of RFC 9457."""
    document = response.json()
    assert (response.status_code, code(response)) == (status, problem), response.text
    assert response.headers["content-type"] == MEDIA_TYPE
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: error.code)
def test_every_refusal_is_provoked_and_a_problem_document(stage, error):
    provoke = PROVOKED_BY[error]
    assert provoke is not None, f"no function {error.code.replace('-', '_')} provokes it"

    document = require_problem(provoke(stage), STATUS[error], error.code)

    assert document["title"] == error.title


@pytest.mark.parametrize("provoke", OTHERS)
def test_framework_refusals_and_failures_are_problem_documents_too(stage, provoke):
    call, status, problem = OTHERS[provoke]
    require_problem(call(stage), status, problem)


@pytest.mark.parametrize(
    "error", [each for each in REFUSALS if issubclass(each, FaultyError)], ids=lambda e: e.code
)
def test_an_invalid_request_is_reported_fault_by_fault(stage, error):
    faults = PROVOKED_BY[error](stage).json()["faults"]
    assert faults
    for fault in faults:
        assert fault.keys() == {"code", "message"}
        assert re.fullmatch(r"[a-z_-]+", fault["code"])


def test_codes_are_unique():
    codes = [error.code for error in REFUSALS]
    assert len(set(codes)) == len(codes)


def test_the_statuses_cover_exactly_the_refusals():
    assert set(STATUS) == set(REFUSALS)


def test_every_error_of_the_domain_is_tested():
    declared = {each for each in vars(errors).values() if isinstance(each, type)}
    declared = {each for each in declared if issubclass(each, RegistryError)}
    assert declared - {RegistryError, FaultyError} == set(REFUSALS)


def test_the_documentation_lists_exactly_the_codes_with_their_status():
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", DOCUMENTATION.read_text(), re.MULTILINE)
    expected = {error.code: str(STATUS[error]) for error in REFUSALS}
    expected |= {problem: str(status) for _, status, problem in OTHERS.values()}
    assert dict(rows) == expected
    assert [row[0] for row in rows] == sorted(expected)


def test_a_405_lists_the_allowed_methods(stage):
    response = no_such_method(stage)
    assert response.headers["allow"] == "GET, POST"
    assert response.json()["detail"] == "/v1/prefixes allows GET, POST."


def test_a_405_lists_the_only_allowed_method(stage):
    response = stage.world.call("PUT", "/v1/audit", by="reader")
    assert (response.status_code, response.headers["allow"]) == (405, "GET")


def test_a_failure_response_contains_no_secret(stage):
    response = a_bug(stage)
    assert "hunter2" not in response.text
    assert "Traceback" not in response.text


def test_a_failure_is_logged_with_its_cause(stage, caplog):
    a_bug(stage)
    assert "GET /v1/resolve/" in caplog.text
    assert "RuntimeError" in caplog.text


def test_a_server_side_refusal_is_logged(stage, caplog):
    unavailable(stage)
    assert "unavailable: The object store" in caplog.text


def test_a_client_side_refusal_is_not_logged(stage, caplog):
    not_found(stage)
    assert caplog.text == ""
