"""Contents, visibility and cost of every page, without a browser."""

import html
import json
import re
import time

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine

from app.db.session import sessions_on
from app.pages import overview, rendering
from tests.pages.conftest import counted
from tests.pages.login.test_session_cookies import Person
from tests.support.builders import CARD

MOST_QUERIES = 8
MOST_QUERIES_OF_A_VERSION = 12  # four of them find its near copies
MOST_WORK = 12  # times that of the sign-in page, which sends no statements
LARGEST_PAGE_BYTES = 150_000
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"


def paths(story):
    """Return every kind of page by name, each with a principal allowed to read it."""
    prefix = f"/admin/prefixes/{story.prefix}"
    return {
        "overview": ("admin", "/admin/"),
        "reviews": ("approver-1", "/admin/reviews"),
        "promotions": ("admin", "/admin/promotions"),
        "promotion": ("admin", f"/admin/promotions/{story.pending['id']}"),
        "prefixes": ("admin", "/admin/prefixes"),
        "prefix": ("admin", prefix),
        "version": ("approver-1", f"{prefix}/versions/3"),
        "policies": ("admin", "/admin/policies"),
        "policy": ("admin", f"/admin/policies/{story.suite}-safe/1"),
        "base-models": ("admin", "/admin/base-models"),
        "audit": ("auditor", "/admin/audit"),
        "audit-of-prefix": ("auditor", f"/admin/audit?subject=prefix:{story.prefix}"),
    }


PAGES = (
    "overview",
    "reviews",
    "promotions",
    "promotion",
    "prefixes",
    "prefix",
    "version",
    "policies",
    "policy",
    "base-models",
    "audit",
    "audit-of-prefix",
)


def cpu_s(run):
    """Return the least CPU time of a few runs; waiting on a busy machine does not count."""
    took = []
    for _ in range(5):
        start = time.process_time()
        run()
        took.append(time.process_time() - start)
    return min(took)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_takes_few_queries_little_work_and_few_bytes(story, app, tokens, engine, name):
    who, path = paths(story)[name]
    # The bound on work is in requests of Starlette's client, whose own part is a millisecond.
    with TestClient(app) as client:
        person = Person(client, tokens.get(who, who))
        assert person.sign_in().status_code == 303
        with counted(engine) as statements:
            response = person.get(path)

        assert response.status_code == 200, response.text
        most = MOST_QUERIES_OF_A_VERSION if name == "version" else MOST_QUERIES
        assert len(statements) <= most, statements
        assert int(response.headers["content-length"]) <= LARGEST_PAGE_BYTES
        # A slow machine or coverage measurement slows the plainest page by the same factor.
        plainest = cpu_s(lambda: person.get("/admin/sign-in"))
        assert cpu_s(lambda: person.get(path)) <= MOST_WORK * plainest


def test_the_gate_page_sends_few_statements_besides_those_of_the_evaluation(story, reading, engine):
    person = reading("admin")
    with counted(engine) as statements:
        person.get(f"/admin/prefixes/{story.prefix}/versions/3/gate/production")
    # Those of the session, and of an evaluation with comparisons to incumbents and base model, its
    # record of attempts, void runs and rejections, and the latest suites.
    assert len(statements) <= 18, statements


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_from_no_other_host_and_needs_no_inline_script_or_style(story, reading, name):
    who, path = paths(story)[name]
    response = reading(who).get(path)
    assert re.findall(r'(?:src|href|action)="(?:https?:)?//[^"]*"', response.text) == []
    inline = r"<script(?![^>]*\bsrc=)|<style|<[^>]*\sstyle=|<[^>]*\son[a-z]+="
    assert re.findall(inline, response.text) == []
    policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert response.headers["cache-control"] == "no-store"


# Hostile values


def test_hostile_names_and_cards_are_shown_escaped(world, reading):
    world.a_base()
    world.a_prefix(description=HOSTILE, intended_uses=["tone"])
    card = CARD | {"intended_purpose": HOSTILE, "known_limits": HOSTILE}
    described = {
        "base_model": world.base,
        "card": card,
        "lineage": {"hyperparameters": {HOSTILE: [HOSTILE]}},
    }
    pushed = world.push(version=json.dumps(described))
    assert pushed.status_code == 201, pushed.text
    version = pushed.json()
    world.a_channel()
    harness = {"name": HOSTILE, "version": HOSTILE}
    assert world.evaluate(version, harness=harness).status_code == 201
    promotion = world.request(version, reason=HOSTILE).json()
    world.review(promotion, by="approver-1", comment=HOSTILE)
    person = reading("admin")
    prefix = f"/admin/prefixes/{world.prefix}"

    for path in (
        prefix,
        "/admin/prefixes",
        f"{prefix}/versions/1",
        f"{prefix}/versions/1/gate/production",
        f"/admin/promotions/{promotion['id']}",
        "/admin/reviews",
    ):
        shown = person.get(path).text
        assert "<img src=x" not in shown, path
        assert "<script>alert" not in shown, path
    assert html.escape(HOSTILE).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in shown
    searched = person.get("/admin/prefixes", params={"q": HOSTILE[:90]}).text
    assert "<script>alert" not in searched


# Visibility


def test_a_stranger_gets_404_for_pages_of_another_namespace(world, reading):
    promotion = world.a_promotion()
    person = reading(world.a_stranger("approver"))
    prefix = f"/admin/prefixes/{world.prefix}"
    for path in (
        prefix,
        f"{prefix}/versions/1",
        f"{prefix}/versions/1/gate/production",
        f"/admin/promotions/{promotion['id']}",
    ):
        assert person.get(path).status_code == 404, path
    for path in ("/admin/", "/admin/reviews", "/admin/prefixes", "/admin/promotions"):
        response = person.get(path)
        assert response.status_code == 200
        assert world.namespace not in response.text, path


def test_a_reader_sees_served_versions_only(world, reading):
    world.a_live_version()
    waiting = world.a_promotion(seed=2)
    person = reading("reader")
    shown = person.get(f"/admin/prefixes/{world.prefix}").text
    assert "Version 1" in shown
    assert "Version 2" not in shown
    assert person.get(f"/admin/prefixes/{world.prefix}/versions/1").status_code == 200
    assert person.get(f"/admin/prefixes/{world.prefix}/versions/2").status_code == 404
    assert person.get(f"/admin/promotions/{waiting['id']}").status_code == 404


def test_a_token_for_one_channel_sees_no_other(world, reading):
    world.a_live_version()
    world.a_channel("staging", approvals={"required": 1})
    shown = reading(world.a_token("reader", channels=["staging"])).get("/admin/prefixes").text
    assert world.prefix not in shown


def test_an_auditor_reads_the_audit_log_only(reading, world):
    world.a_promotion()
    person = reading("auditor")
    assert person.get("/admin/audit").status_code == 200
    assert world.prefix not in person.get("/admin/prefixes").text
    assert person.get("/admin/policies").status_code == 403


def test_the_audit_page_is_refused_without_the_role_auditor(reading):
    response = reading("admin").get("/admin/audit")
    assert response.status_code == 403
    assert "admin needs the role auditor" in response.text


@pytest.mark.parametrize(
    "path",
    [
        "/admin/nothing",
        "/admin/prefixes/acme/brand-voice/versions/0",
        "/admin/prefixes/acme/brand-voice/versions/99999999999999",
        "/admin/prefixes/acme/brand-voice/versions/x",
        "/admin/prefixes/%00/x",
        "/admin/promotions/none",
        "/admin/policies/%00/1",
        "/admin/policies/nobody/1",
        "/admin/static/../pages.py",
    ],
)
def test_an_unknown_path_is_a_page_with_status_404(reading, path):
    response = reading("admin").get(path)
    assert response.status_code == 404
    assert response.headers["content-type"].startswith(("text/html", "text/plain"))


def test_an_invalid_cursor_is_refused_with_advice(reading):
    response = reading("admin").get("/admin/promotions?cursor=x")
    assert response.status_code == 400
    assert "start over" in response.text


# Messages


def test_a_server_error_is_a_page_with_the_same_security_headers(reading, monkeypatch):
    person = reading("admin")
    monkeypatch.setattr(overview, "counts", lambda *_: 1 / 0)
    response = person.get("/admin/")
    assert response.status_code == 500
    assert "Its log has the cause" in response.text
    assert "default-src 'none'" in response.headers["content-security-policy"]


def test_an_unavailable_database_is_a_page_that_says_so(world_on):
    away = sessions_on(create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none"))
    client = world_on(sessions=away).client
    client.cookies.set("registry_session", "x")
    response = client.get("/admin/")
    assert response.status_code == 503
    assert "The database does not respond" in response.text


def test_without_the_libraries_the_pages_work_and_say_so(world, reading, monkeypatch, tmp_path):
    (tmp_path / "vendor").mkdir()
    for own in ("pages.css", "pages.js", "icon.svg"):
        (tmp_path / own).write_bytes((rendering.STATIC / own).read_bytes())
    person = reading("admin")
    monkeypatch.setattr(rendering, "STATIC", tmp_path)
    rendering._environment.cache_clear()
    try:
        shown = person.get("/admin/").text
    finally:
        monkeypatch.undo()
        rendering._environment.cache_clear()
    assert "run <code>make setup</code>" in shown
    assert "vendor/" not in shown
    assert "Overview" in shown
