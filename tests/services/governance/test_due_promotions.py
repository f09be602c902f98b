"""Due promotions: executing them after a policy's wait, and expiring overdue ones."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy import create_engine, text

from app.db.prefixes import lock_prefix
from app.db.session import sessions_on
from app.domain.naming import PrefixName
from app.services.governance import due_promotions
from app.services.governance.due_promotions import process_due
from tests.support.builders import results
from tests.support.observing import eventually

WAIT = timedelta(hours=24)


@pytest.fixture
def later(sessions, time):
    """Process the promotions that are due some time from now."""

    def later(**ahead):
        time.ahead = timedelta(**ahead)
        # Each round ends or holds the promotions that it examines, of all tests of this process.
        eventually(lambda: process_due(sessions) == 0, within_s=20)

    return later


@pytest.fixture
def impatient(stores):
    """Sessions with a lock timeout of 50 ms."""
    engine = create_engine(
        stores.postgres.service_url, connect_args={"options": "-c lock_timeout=50"}
    )
    yield sessions_on(engine)
    engine.dispose()


@pytest.fixture
def waiting(world):
    """A fully approved promotion that waits for a day."""
    return fully_approved(world)


def fully_approved(world):
    world.a_version()
    world.a_channel(approvals={"required": 2, "wait": "PT24H"})
    promotion = world.a_promotion(seed=1)
    for reviewer in ("approver-1", "approver-2"):
        response = world.review(promotion, by=reviewer)
        assert response.status_code == 200, response.text
    return response.json()


def moment(text):
    return datetime.fromisoformat(text)


def test_a_fully_approved_promotion_waits(world, waiting):
    wait = moment(waiting["waiting_for"]["not_before"]) - moment(waiting["created_at"])

    assert (waiting["state"], waiting["waiting_for"]["approvals"]) == ("pending", 0)
    assert wait == WAIT
    assert world.channel()["generation"] == 0


def test_a_promotion_is_not_executed_before_its_wait_is_over(world, waiting, later):
    later(hours=23)
    assert world.promotion(waiting)["state"] == "pending"


def test_a_promotion_is_executed_after_its_wait(world, waiting, later):
    later(hours=25)

    assert world.promotion(waiting)["state"] == "executed"
    assert world.channel()["allocation"] == [{"version": 2, "weight": 10_000}]


def test_the_registry_is_the_principal_of_a_scheduled_execution(world, waiting, later):
    later(hours=25)

    entry = world.audit()[-1]
    assert (entry["action"], entry["principal"]) == ("promotion.execute", "prefix-registry")
    assert world.history()[0]["executed_by"] == "prefix-registry"


def test_processing_a_due_promotion_twice_executes_it_once(world, waiting, later):
    later(hours=25)
    later(hours=26)

    assert world.channel()["generation"] == 1
    assert world.actions().count("promotion.execute") == 1


def test_a_lock_timeout_delays_only_its_own_promotion(
    world, waiting, world_on, sessions, impatient, later, time
):
    other = world_on()
    beside = fully_approved(other)

    with sessions.begin() as session:
        lock_prefix(session, PrefixName(world.namespace, "voice"))
        time.ahead = timedelta(hours=25)
        assert process_due(impatient) >= 2
        assert world.promotion(waiting)["state"] == "pending"
        assert other.promotion(beside)["state"] == "executed"

    later(hours=25)
    assert world.promotion(waiting)["state"] == "executed"


def test_a_promotion_withdrawn_during_processing_is_not_executed(
    world, waiting, world_on, engine, sessions, time
):
    with engine.connect() as connection, ThreadPoolExecutor(1) as thread:
        with connection.begin():
            withdrawing = world_on(sessions=sessions_on(connection))
            assert withdrawing.withdraw(waiting).status_code == 200
            time.ahead = timedelta(hours=25)
            settled = thread.submit(process_due, sessions)
            eventually(lambda: blocks_another(connection))
        assert settled.result(timeout=10) >= 1

    assert world.promotion(waiting)["state"] == "withdrawn"
    assert world.channel()["generation"] == 0


def blocks_another(connection):
    waiting = "SELECT count(*) FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    return connection.scalar(text(waiting)) > 0


def test_an_approval_after_the_wait_executes_at_once(world, time):
    world.a_version()
    world.a_channel(approvals={"required": 1, "wait": "PT1H"})
    promotion = world.a_promotion(seed=1)
    time.ahead = timedelta(hours=2)

    assert world.review(promotion, by="approver-1").json()["state"] == "executed"


def test_a_promotion_without_required_approvals_still_waits(world, later):
    world.a_version()
    world.a_channel(approvals={"required": 0, "wait": "PT1H"})
    promotion = world.a_promotion(seed=1)
    assert promotion["state"] == "pending"

    later(hours=2)

    assert world.promotion(promotion)["state"] == "executed"


def test_new_evidence_invalidates_approvals_and_restarts_the_wait(world, waiting, later, time):
    time.ahead = timedelta(hours=20)
    world.evaluate({"number": 2, "digest": waiting["decision"]["candidates"][0]["digest"]})

    later(hours=25)

    promotion = world.promotion(waiting)
    begun = moment(promotion["waiting_for"]["not_before"]) - WAIT
    assert promotion["state"] == "pending"
    assert promotion["waiting_for"]["approvals"] == 2
    assert begun - moment(waiting["created_at"]) >= timedelta(hours=20)


def test_approvals_stay_invalid_after_new_evidence_is_voided(world, waiting, later):
    version = {"number": 2, "digest": waiting["decision"]["candidates"][0]["digest"]}
    extra = world.evaluate(version, results=results(value=0.2)).json()
    world.void(extra)

    later(hours=30)

    promotion = world.promotion(waiting)
    assert promotion["subject_digest"] != waiting["subject_digest"]  # it names the void run
    assert (promotion["state"], promotion["waiting_for"]["approvals"]) == ("pending", 2)


def test_a_promotion_is_held_if_the_gate_fails_at_the_end_of_the_wait(world, later):
    world.a_version()
    demands = {
        "approvals": {"required": 1, "wait": "P2D"},
        "evidence": {"max_age": "P1D", "level": 0},
    }
    world.a_channel(**demands)
    promotion = world.a_promotion(seed=1)
    world.review(promotion, by="approver-1")

    later(days=3)

    held = world.promotion(promotion)
    assert (held["state"], held["decision"]["result"]) == ("pending", "failed")
    assert world.actions()[-1] == "promotion.hold"
    assert world.channel()["generation"] == 0


def test_a_promotion_is_held_if_its_approvals_lapse_during_the_wait(world, later):
    name, token = world.a_principal(None, ("approver", world.namespace))
    world.a_version()
    world.a_channel(approvals={"required": 1, "wait": "PT1H"})
    promotion = world.a_promotion(seed=1)
    assert world.review(promotion, by=token).status_code == 200
    world.made("PUT", "/v1/grants", by="admin", json={"principal": name, "grants": []})

    later(hours=2)

    assert world.promotion(promotion)["state"] == "pending"
    held = world.audit()[-1]
    assert held["action"] == "promotion.hold"
    assert held["facts"]["approvals_missing"] == 1


def test_an_unexpected_failure_delays_only_its_own_promotion(
    world, waiting, world_on, sessions, time, monkeypatch, caplog
):
    other = world_on()
    beside = fully_approved(other)
    processed = due_promotions._process

    def failing(transactions, promotion_id):
        if str(promotion_id) == waiting["id"]:
            raise ZeroDivisionError
        processed(transactions, promotion_id)

    with monkeypatch.context() as patched:
        patched.setattr(due_promotions, "_process", failing)
        patched.setattr(due_promotions, "_BATCH", 1000)
        time.ahead = timedelta(hours=25)
        process_due(sessions)
    assert other.promotion(beside)["state"] == "executed"
    assert "ZeroDivisionError" in caplog.text


def test_break_glass_does_not_wait(world, waiting):
    assert world.break_glass(waiting).json()["state"] == "executed"


def test_a_version_revoked_during_the_wait_is_not_executed(world, waiting, later):
    world.revoke({"number": 2})
    later(hours=25)
    assert world.promotion(waiting)["state"] == "superseded"


def test_an_overdue_promotion_expires_with_an_audit_entry(world, later):
    promotion = world.a_promotion()

    later(days=31)

    assert world.promotion(promotion)["state"] == "expired"
    assert world.actions()[-1] == "promotion.expire"


def test_an_approval_of_the_current_subject_is_accepted(world):
    promotion = world.a_promotion()
    subject = {"subject_digest": promotion["subject_digest"]}
    assert world.review(promotion, by="approver-1", **subject).status_code == 200


def test_an_approval_of_an_outdated_subject_is_refused(world):
    promotion = world.a_promotion()
    world.evaluate({"number": 1, "digest": promotion["decision"]["candidates"][0]["digest"]})

    subject = {"subject_digest": promotion["subject_digest"]}
    response = world.review(promotion, by="approver-1", **subject)

    assert response.status_code == 409
    assert response.json()["subject_digest"] == world.promotion(promotion)["subject_digest"]
    assert world.promotion(promotion)["reviews"] == []
