"""What the pages show, to whom, at what cost: asked for without a browser."""

import html
import json
import re
import time

import pytest
from sqlalchemy import create_engine, text

from app.db.session import sessions_on
from app.pages import audit, overview, rendering
from tests.builders import CARD, a_policy, results
from tests.pages.conftest import counted
from tests.pages.test_sessions import Person

MOST_QUERIES = 8
MOST_WORK = 12  # times that of the page to sign in on, which asks the database nothing
LARGEST_PAGE_BYTES = 150_000
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"


@pytest.fixture
def reading(client, tokens):
    """Read pages as somebody."""

    def reading(who):
        person = Person(client, tokens.get(who, who))
        assert person.sign_in().status_code == 303
        return person

    return reading


def paths(story):
    """Return every kind of page, by name, and who may read it."""
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


def work_s(ask):
    """Return the least CPU time of a few tries; waiting for a busy machine is no work."""
    took = []
    for _ in range(5):
        start = time.process_time()
        ask()
        took.append(time.process_time() - start)
    return min(took)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_takes_few_queries_little_work_and_few_bytes(story, reading, engine, name):
    who, path = paths(story)[name]
    person = reading(who)
    with counted(engine) as statements:
        response = person.get(path)

    assert response.status_code == 200, response.text
    assert len(statements) <= MOST_QUERIES, statements
    assert int(response.headers["content-length"]) <= LARGEST_PAGE_BYTES
    # A slow machine, or measuring what is covered, falls on the plainest page as well.
    plainest = work_s(lambda: person.get("/admin/sign-in"))
    assert work_s(lambda: person.get(path)) <= MOST_WORK * plainest


def test_asking_the_gate_costs_what_judging_does(story, reading, engine):
    person = reading("admin")
    with counted(engine) as statements:
        person.get(f"/admin/prefixes/{story.prefix}/versions/3/gate/production")
    # The session, and what judging with a comparison to incumbent and base reads.
    assert len(statements) <= 13, statements


@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_nothing_of_another_host_and_needs_no_inline_script_or_style(
    story, reading, name
):
    who, path = paths(story)[name]
    response = reading(who).get(path)
    assert re.findall(r'(?:src|href|action)="(?:https?:)?//[^"]*"', response.text) == []
    inline = r"<script(?![^>]*\bsrc=)|<style|<[^>]*\sstyle=|<[^>]*\son[a-z]+="
    assert re.findall(inline, response.text) == []
    policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert response.headers["cache-control"] == "no-store"


# Hostile words


def test_hostile_names_and_cards_are_shown_and_inert(world, reading):
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


# Who sees what


def test_a_stranger_finds_pages_that_do_not_exist(world, reading):
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


def test_a_reader_sees_what_is_served_and_nothing_else(world, reading):
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


def test_an_auditor_reads_the_log_and_nothing_else(reading, world):
    world.a_promotion()
    person = reading("auditor")
    assert person.get("/admin/audit").status_code == 200
    assert world.prefix not in person.get("/admin/prefixes").text
    assert person.get("/admin/policies").status_code == 403


def test_whoever_is_no_auditor_is_told_so(reading):
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
def test_what_does_not_exist_is_a_page_that_says_so(reading, path):
    response = reading("admin").get(path)
    assert response.status_code == 404
    assert response.headers["content-type"].startswith(("text/html", "text/plain"))


def test_a_cursor_that_no_list_gave_out_is_refused_in_words(reading):
    response = reading("admin").get("/admin/promotions?cursor=x")
    assert response.status_code == 400
    assert "start over" in response.text


def test_lists_go_on_where_a_page_ends(reading, world):
    person = reading("auditor")
    for number in range(60):
        world.a_token("reader", channels=[f"c{number}"])
    shown = person.get("/admin/audit?principal=admin&action=token.issue").text
    following = html.unescape(re.search(r'rel="next" href="([^"]+)"', shown).group(1))
    first = set(re.findall(r'<code class="digest" title="(sha256:\w+)"', shown))
    older = person.get(f"/admin/audit{following}").text
    assert "token.issue" in older
    assert "session.open" not in older
    rows = set(re.findall(r'<tr><th scope="row" class="num">(\d+)', shown))
    assert rows.isdisjoint(re.findall(r'<tr><th scope="row" class="num">(\d+)', older))
    assert first


# What they say


def test_the_overview_names_the_rule_that_shuts_gates(world, reading):
    promotion = world.a_promotion()
    assert world.promotion(promotion)["decision"]["result"] == "passed"
    version = world.made("GET", f"{world.path}/versions/1", by="publisher")
    world.evaluate(version, results=results(value=0.2))
    _, token = world.a_principal(None, ("approver", world.namespace))
    shown = reading(token).get("/admin/").text
    assert "the gate no longer passes" in shown
    assert (
        f'<th scope="row">{world.suite}/tone</th><td class="num">1</td><td class="num">4</td>'
        in (shown)
    )


def bound_to(base, shown):
    """Return what the page of base models says is bound to one of them."""
    row = shown.partition(f'title="{base}"')[2].partition("</tr>")[0]
    return row.rpartition("<td>")[2]


def test_a_base_model_names_its_first_prefixes_and_leads_to_all(world, reading):
    base = world.a_base()
    names = [f"{world.namespace}/voice-{number:02}" for number in range(11)]
    for name in names:
        world.a_prefix(name=name.partition("/")[2])
        world.path = f"/v1/prefixes/{name}"
        assert world.push().status_code == 201
    assert world.push(seed=1).status_code == 201

    person = reading("admin")
    row = bound_to(base, person.get("/admin/base-models").text)
    assert re.findall(r'href="/admin/prefixes/([^"]+)"', row) == names[:10]
    everything = re.search(r'href="([^"]+)">and more<', row).group(1)
    shown = person.get(everything).text
    assert re.findall(r'<a href="/admin/prefixes/([^"]+)"', shown) == names
    assert "tiny/llama" in shown
    searched = person.get(f"{everything}&q=voice-03").text
    assert re.findall(r'<a href="/admin/prefixes/([^"]+)"', searched) == names[3:4]
    assert "a version for this base model" in person.get(f"{everything}&q=nowhere").text


def test_a_base_model_names_no_prefix_that_is_not_in_sight(world, reading):
    world.a_version()
    _, reader = world.a_principal(None, ("reader", world.namespace))
    for token in (world.a_stranger(), reader):
        person = reading(token)
        assert "none" in bound_to(world.base, person.get("/admin/base-models").text)
        everything = person.get(f"/admin/prefixes?base_model={world.base}").text
        assert "No prefix that you may see has a version for this base model" in everything

    world.a_live_version(seed=1)
    assert world.prefix in bound_to(world.base, reading(reader).get("/admin/base-models").text)


def test_the_audit_log_offers_the_chains_that_were_written_to_last(world, reading):
    world.a_version()
    shown = reading("auditor").get("/admin/audit").text
    assert f'<option value="prefix:{world.prefix}">' in shown
    assert shown.count("<option") == len(set(re.findall(r'<option value="([^"]+)"', shown)))


def test_a_policy_is_read_in_words_and_beside_its_former_text(world, reading):
    first = world.a_policy()
    document = a_policy(world.suite, name=first["name"], approvals={"required": 3})
    world.made("POST", "/v1/policies", by="admin", json=document)
    shown = reading("admin").get(f"/admin/policies/{first['name']}/2").text
    assert "shown at 95 % confidence that it is at least 0.85, on 100 samples or more." in shown
    assert "By 3 humans, each standing for 7 days." in shown
    assert "<td>" in shown
    assert "approvals.required" in shown
    assert "\N{MINUS SIGN} 2" in shown
    assert "+ 3" in shown


def test_a_broken_chain_is_shown_as_broken(world, reading, stores):
    world.a_version()
    owner = create_engine(stores.postgres.owner_url)
    subject = f"prefix:{world.prefix}"
    person = reading("auditor")
    assert "The chain is intact" in person.get("/admin/audit", params={"subject": subject}).text
    with owner.begin() as connection:
        connection.execute(text("ALTER TABLE audit_entry DISABLE TRIGGER USER"))
        statement = (
            "UPDATE audit_entry SET principal = 'nobody' WHERE subject = :s AND sequence = 1"
        )
        connection.execute(text(statement), {"s": subject})
        connection.execute(text("ALTER TABLE audit_entry ENABLE TRIGGER USER"))
    owner.dispose()
    shown = person.get("/admin/audit", params={"subject": subject}).text
    assert "The chain is broken" in shown
    assert "at entry 1 of" in shown


def test_a_long_chain_is_verified_when_asked(world, reading, monkeypatch):
    monkeypatch.setattr(audit, "_VERIFIED_UNASKED", 1)
    world.a_version()
    person, chain = reading("auditor"), {"subject": f"prefix:{world.prefix}"}
    shown = person.get("/admin/audit", params=chain).text
    assert "Verify the chain" in shown
    assert "The chain is intact" not in shown
    assert (
        "The chain is intact" in person.get("/admin/audit", params=chain | {"verified": "1"}).text
    )


def test_what_was_live_at_a_time_is_one_question(world, reading):
    world.a_live_version()
    person = reading("admin")
    path = f"/admin/prefixes/{world.prefix}"
    assert "Nothing was live until then" in person.get(path, params={"at": "2020-01-01T00:00"}).text
    assert "generation 1" in person.get(path, params={"at": "2100-01-01T00:00"}).text
    assert "generation 1" in person.get(path, params={"at": ""}).text


def test_a_revoked_version_says_why(world, reading):
    version = world.a_live_version()
    person = reading("approver-1")
    path = f"/admin/prefixes/{world.prefix}/versions/1"
    mark = person.mark(path)

    fields = {"form_token": mark, "reason": "it leaks"}
    unsure = person.post(f"{path}/revoke", **fields, confirmation="yes")
    assert unsure.status_code == 422
    assert "Type `revoke 1` to confirm" in unsure.text
    assert world.channel()["allocation"] != []

    sure = person.post(
        f"{path}/revoke", form_token=mark, reason="it leaks", confirmation="revoke 1"
    )
    assert sure.status_code == 303
    assert world.channel()["allocation"] == []
    assert "it leaks" in person.get(path).text
    assert version["number"] == 1


def test_the_glass_is_broken_only_on_a_typed_confirmation(world, reading):
    promotion = world.a_promotion()
    person = reading("admin")
    path = f"/admin/promotions/{promotion['id']}"
    fields = {"form_token": person.mark(path), "reason": "the fleet is down, and this mends it"}

    assert person.post(f"{path}/break-glass", **fields).status_code == 422
    short = fields | {"reason": "hurry", "confirmation": "break glass"}
    assert person.post(f"{path}/break-glass", **short).status_code == 422
    assert world.promotion(promotion)["state"] == "pending"

    done = person.post(f"{path}/break-glass", **fields, confirmation="break glass")
    assert done.status_code == 303
    assert world.promotion(promotion)["break_glass"] is True
    assert "break-glass" in person.get(path).text


def test_a_request_can_be_withdrawn_by_whoever_made_it(world, reading):
    promotion = world.a_promotion()
    person = reading("publisher")
    path = f"/admin/promotions/{promotion['id']}"
    response = person.post(f"{path}/withdraw", form_token=person.mark(path))
    assert response.headers["location"] == f"{path}?done=withdraw"
    assert world.promotion(promotion)["state"] == "withdrawn"


def test_a_failure_of_ours_is_a_page_and_as_closed_as_any(reading, monkeypatch):
    person = reading("admin")
    monkeypatch.setattr(overview, "counts", lambda *_: 1 / 0)
    response = person.get("/admin/")
    assert response.status_code == 500
    assert "Its log has the cause" in response.text
    assert "default-src 'none'" in response.headers["content-security-policy"]


def test_a_database_that_is_away_is_a_page_that_says_so(world_on):
    away = sessions_on(create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none"))
    client = world_on(sessions=away).client
    client.cookies.set("registry_session", "x")
    response = client.get("/admin/")
    assert response.status_code == 503
    assert "The database does not answer now" in response.text


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


def test_an_admin_breaks_the_glass_where_the_gate_is_shut(world, reading):
    version = world.a_version()
    world.a_channel()
    world.evaluate(version, results=results(value=0.5))
    path = f"/admin/prefixes/{world.prefix}/versions/1/gate/production"
    person = reading("admin")
    fields = {
        "form_token": person.mark(path),
        "reason": "the fleet is down, and this mends it",
        "confirmation": "break",
    }
    unsure = person.post(f"{path}/break-glass", **fields)
    assert unsure.status_code == 422
    assert f'action="{path}/break-glass"' in unsure.text

    done = person.post(f"{path}/break-glass", **fields | {"confirmation": "break glass"})

    assert done.status_code == 303
    assert world.resolve().json()["version"] == 1
    assert "break-glass" in person.get(done.headers["location"]).text


def test_who_is_no_admin_is_not_offered_to_break_the_glass(world, reading):
    version = world.a_version()
    world.a_channel()
    world.evaluate(version, results=results(value=0.5))
    path = f"/admin/prefixes/{world.prefix}/versions/1/gate/production"
    assert "break-glass" not in reading("approver-1").get(path).text


def test_an_approver_sees_who_pulled_a_version(world, reading):
    world.a_live_version()
    path = f"/admin/prefixes/{world.prefix}/versions/1/pulls"
    person = reading("approver-1")
    assert "Nobody has pulled it" in person.get(path).text

    world.resolve()

    assert re.search(r"reader</th><td>service</td><td>was told where", person.get(path).text)
    assert path in person.get(path.removesuffix("/pulls")).text
    assert reading("publisher").get(path).status_code == 403
