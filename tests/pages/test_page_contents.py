"""Contents and wording of single pages, without a browser."""

import html
import re
from datetime import timedelta

import pytest
from safetensors.torch import load, save
from sqlalchemy import create_engine, text

from app.pages import audit
from app.pages.presentation.formatting import size
from tests.support.builders import World, a_policy, results


def test_the_next_page_continues_where_the_first_ends(reading, world):
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


def test_the_overview_names_the_rule_that_blocks_promotions(world, reading):
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


def test_the_overview_shows_the_fullest_namespaces_of_its_visitor(world, reading):
    world.a_version()
    limits = {"stored_bytes": 1 << 20, "versions": 2000, "requests": None}
    path = f"/v1/namespaces/{world.namespace}/quota"
    world.made("PUT", path, by="admin", json=limits)
    _, publisher = world.a_principal(None, ("publisher", world.namespace))
    used = world.made("GET", path, by=publisher)["stored_bytes"]["used"]
    shown = reading(publisher).get("/admin/").text
    row = shown.partition(f'<th scope="row">{world.namespace}</th>')[2].partition("</tr>")[0]
    assert re.findall(r">([^<]+)</td>", row) == [f"{size(used)} of 1.0 MiB", "1 of 2,000"]
    _, reader = world.a_principal(None, ("reader", world.namespace))
    for other in (reader, world.a_stranger("publisher")):
        assert world.namespace not in reading(other).get("/admin/").text


def bound_to(base, shown):
    """Return the table cell of prefixes bound to a base model."""
    row = shown.partition(f'title="{base}"')[2].partition("</tr>")[0]
    return row.rpartition("<td>")[2]


def test_a_base_model_lists_its_first_prefixes_and_links_to_all(world, reading):
    base = world.a_base(own=True)
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


def test_a_base_model_lists_visible_prefixes_only(world, reading):
    world.a_base(own=True)
    world.a_prefix()
    world.a_version()
    _, reader = world.a_principal(None, ("reader", world.namespace))
    for token in (world.a_stranger(), reader):
        person = reading(token)
        assert "none" in bound_to(world.base, person.get("/admin/base-models").text)
        everything = person.get(f"/admin/prefixes?base_model={world.base}").text
        assert "No prefix that you may see has a version for this base model" in everything

    world.a_live_version(seed=1)
    assert world.prefix in bound_to(world.base, reading(reader).get("/admin/base-models").text)


def test_the_audit_log_offers_the_latest_chains(world, reading):
    world.a_version()
    shown = reading("auditor").get("/admin/audit").text
    assert f'<option value="prefix:{world.prefix}">' in shown
    assert shown.count("<option") == len(set(re.findall(r'<option value="([^"]+)"', shown)))


def test_a_policy_is_shown_in_words_and_with_its_changes(world, reading):
    first = world.a_policy(own=True)
    document = a_policy(world.suite, name=first["name"], approvals={"required": 3})
    world.made("POST", "/v1/policies", by="admin", json=document)
    shown = reading("admin").get(f"/admin/policies/{first['name']}/2").text
    assert "at least 0.85, shown at 95 % confidence on 100 independent samples or more" in shown
    assert "By 3 humans; each approval is valid for 7 days." in shown
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


def test_a_long_chain_is_verified_on_request(world, reading, monkeypatch):
    monkeypatch.setattr(audit, "_AUTO_VERIFIED_ENTRIES", 1)
    world.a_version()
    person, chain = reading("auditor"), {"subject": f"prefix:{world.prefix}"}
    shown = person.get("/admin/audit", params=chain).text
    assert "Verify the chain" in shown
    assert "The chain is intact" not in shown
    assert (
        "The chain is intact" in person.get("/admin/audit", params=chain | {"verified": "1"}).text
    )


def test_the_timeline_can_end_at_a_time(world, reading):
    world.a_live_version()
    person = reading("admin")
    path = f"/admin/prefixes/{world.prefix}"
    assert "Nothing was live until then" in person.get(path, params={"at": "2020-01-01T00:00"}).text
    assert "generation 1" in person.get(path, params={"at": "2100-01-01T00:00"}).text
    assert "generation 1" in person.get(path, params={"at": ""}).text


def test_a_version_is_revoked_on_a_typed_confirmation_and_shows_the_reason(world, reading):
    version = world.a_live_version()
    person = reading("approver-1")
    path = f"/admin/prefixes/{world.prefix}/versions/1"
    mark = person.form_token(path)

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


def test_an_approver_sees_who_pulled_a_version(world, reading):
    world.a_live_version()
    path = f"/admin/prefixes/{world.prefix}/versions/1/pulls"
    person = reading("approver-1")
    assert "No one has pulled this version" in person.get(path).text

    world.resolve()

    assert re.search(r"reader</th><td>service</td><td>resolved", person.get(path).text)
    assert path in person.get(path.removesuffix("/pulls")).text
    assert reading("publisher").get(path).status_code == 403


def test_a_version_shows_its_near_copies(world, reading):
    version = world.a_version()
    person = reading("publisher")
    path = f"/admin/prefixes/{world.prefix}/versions/{version['number']}"
    assert "Near copies" not in person.get(path).text
    tensors = {name: tensor * 1.004 for name, tensor in load(world.weights()).items()}
    world.push(weights=save(tensors))

    shown = person.get(path).text

    assert f'<a href="/admin/prefixes/{world.prefix}/versions/2">{world.prefix} v2</a>' in shown
    assert "0.4 %" in shown
    _, insider = world.a_principal(None, ("publisher", world.namespace))
    other = World(world.client, world.tokens, shares=world.shares)
    other.base = world.base
    other.a_prefix()
    other.push(weights=save({name: 1.001 * tensor for name, tensor in tensors.items()}))
    assert "1 near content is in namespaces that you cannot see" in reading(insider).get(path).text


def test_base_models_are_shown_to_participants_and_policies_to_workers(world, reading):
    _, auditor = world.a_principal(None, ("auditor", "*"))
    policy = world.a_policy()
    paths = ("base-models", "policies", f"policies/{policy['name']}/{policy['version']}")
    for who, expected in (
        (auditor, [403, 403, 403]),
        ("reader", [200, 403, 403]),
        ("publisher", [200, 200, 200]),
    ):
        person = reading(who)
        assert [person.get(f"/admin/{path}").status_code for path in paths] == expected


def test_an_error_page_offers_a_signed_in_person_to_sign_out(world, reading):
    shown = reading("admin").get("/admin/nowhere")
    assert shown.status_code == 404
    assert 'action="/admin/sign-out"' in shown.text


def test_a_promotion_that_waits_says_until_when(world, reading):
    world.a_version()
    world.a_channel(approvals={"required": 1, "wait": "PT1H"})
    promotion = world.a_promotion(seed=1)
    world.review(promotion, by="approver-1")
    path = f"/admin/promotions/{promotion['id']}"
    assert 'id="timer">Takes effect no earlier than' in reading("approver-2").get(path).text


@pytest.mark.parametrize(("days", "shown"), [(29.9, True), (30.1, False)])
def test_the_overview_names_rules_that_failed_requests_of_the_last_30_days(
    world, reading, time, days, shown
):
    promotion = world.a_promotion()
    version = world.made("GET", f"{world.path}/versions/1", by="publisher")
    world.evaluate(version, results=results(value=0.2))
    assert world.promotion(promotion)["decision"]["result"] == "failed"
    name, _ = world.a_principal(None, ("approver", world.namespace))
    token = world.a_token(name, expires_in="P90D")
    time.ahead = timedelta(days=days)
    assert (f'<th scope="row">{world.suite}/tone' in reading(token).get("/admin/").text) is shown
