"""Turns: a busy subject holds up its own changes, and only a bounded number of them."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest
from sqlalchemy import text

from app.db.prefixes import lock_prefix
from app.domain.errors import UnavailableError
from app.domain.naming import PrefixName
from app.services.turns import MOST_IN_LINE, Turns
from tests.support.observing import eventually

WAITING = text(
    "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity "
    "WHERE datname = current_database())"
)


def test_changes_of_one_subject_take_turns():
    turns, entered, let = Turns(), [], Event()

    def change(name):
        with turns.turn("prefix:acme/voice"):
            entered.append(name)
            assert let.wait(timeout=20)

    with ThreadPoolExecutor(2) as threads:
        changes = [threads.submit(change, name) for name in ("one", "other")]
        eventually(lambda: len(entered) == 1)
        eventually(lambda: turns._lines["prefix:acme/voice"].length == 2)
        assert len(entered) == 1
        let.set()
        for each in changes:
            each.result(timeout=20)
    assert len(entered) == 2
    assert turns._lines == {}


def test_subjects_do_not_wait_for_each_other():
    turns, both = Turns(), Barrier(2)

    def change(subject):
        with turns.turn(subject):
            both.wait(timeout=20)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(change, ["prefix:acme/voice", "prefix:acme/tone"]))


def test_a_full_line_refuses_at_once():
    turns = Turns(most=1)
    with turns.turn("registry"):
        with pytest.raises(UnavailableError, match="1 changes of registry"), turns.turn("registry"):
            pass
        with turns.turn("prefix:acme/voice"):
            pass
    with turns.turn("registry"):
        pass


def test_a_turn_that_does_not_come_is_an_error():
    turns = Turns(longest_s=0.01)
    with (
        turns.turn("registry"),
        pytest.raises(UnavailableError, match="too long"),
        turns.turn("registry"),
    ):
        pass


def test_a_locked_prefix_leaves_the_server_to_others(world, sessions):
    """Of sixty writers one waits in the database, some in line, and the rest hear so at once."""
    world.a_live_version()
    clients = [world.on_its_own_client() for _ in range(60)]
    body = {"json": {"channel": "production", "version": 1, "reason": "again"}}
    with ThreadPoolExecutor(60) as threads:
        with sessions.begin() as session:
            lock_prefix(session, PrefixName(world.namespace, "voice"))
            path = f"{world.path}/promotions"
            asked = [
                threads.submit(each.call, "POST", path, by="publisher", **body) for each in clients
            ]
            eventually(lambda: sum(each.done() for each in asked) == 60 - MOST_IN_LINE)
            assert session.scalar(WAITING) == 1
            assert world.call("GET", "/v1/me", by="reader").status_code == 200
        answers = [each.result(timeout=60) for each in asked]
    refused = [each for each in answers if each.status_code == 503]
    assert len(refused) == 60 - MOST_IN_LINE
    assert all(int(each.headers["retry-after"]) > 0 for each in refused)
    assert {each.json()["type"] for each in answers if each.status_code != 503} == {
        "/problems/nothing-to-change"
    }
