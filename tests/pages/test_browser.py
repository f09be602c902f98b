"""The pages in a real browser: whole reviews with htmx, without JavaScript and by keyboard."""

import re

import pytest
from playwright.sync_api import expect

from app.services.identity import web_sessions
from tests.pages.conftest import sign_in


def approve(page, comment=""):
    page.get_by_label("Comment").fill(comment)
    page.get_by_role("button", name="Approve").click()


@pytest.mark.parametrize("scripts", [True, False], ids=["htmx", "without-javascript"])
def test_two_reviewers_find_approve_and_see_a_version_live(world, visiting, scripts):
    world.a_promotion()
    first = visiting("approver-1", "/admin/reviews", by_form=True, java_script_enabled=scripts)
    first.get_by_role("link", name=world.prefix).click()
    expect(first.get_by_text("The gate passes")).to_be_visible()

    approve(first, "Reads well.")
    expect(first.get_by_text("Your approval is recorded.")).to_be_visible()
    expect(first.get_by_text("1 of 2: 1 more, from approver-2")).to_be_visible()
    expect(first.get_by_text("has already approved exactly this")).to_be_visible()
    stayed = "done=" not in first.url
    assert stayed is scripts, "htmx replaces a part of the page; without it the whole page loads"

    second = visiting("approver-2", "/admin/reviews", java_script_enabled=scripts)
    second.get_by_role("link", name=world.prefix).click()
    expect(second.get_by_text("Reads well.")).to_be_visible()
    approve(second)
    expect(second.get_by_text("production moved to version 1.")).to_be_visible()
    second.get_by_role("link", name="See the live version").click()
    expect(second.get_by_role("img", name="version 1 100 %")).to_be_visible()
    assert world.channel()["allocation"] == [{"version": 1, "weight": 10000}]
    assert first.faults + second.faults == []


@pytest.mark.parametrize("scripts", [True, False], ids=["htmx", "without-javascript"])
def test_a_rejection_needs_a_comment_and_ends_the_promotion(world, visiting, scripts):
    promotion = world.a_promotion()
    path = f"/admin/promotions/{promotion['id']}"
    page = visiting("approver-1", path, java_script_enabled=scripts)

    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_role("alert")).to_contain_text("A rejection needs a comment that says why.")
    assert world.promotion(promotion)["state"] == "pending"

    page.get_by_label("Comment").fill("It is cold.")
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_text("Your rejection is recorded")).to_be_visible()
    assert world.promotion(promotion)["state"] == "rejected"
    assert page.faults == []


def test_a_reviewer_who_approved_may_still_reject(world, visiting):
    promotion = world.a_promotion()
    page = visiting("approver-1", f"/admin/promotions/{promotion['id']}")
    approve(page)
    expect(page.get_by_text("has already approved exactly this")).to_be_visible()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)

    page.get_by_label("Comment").fill("It is cold after all.")
    page.get_by_role("button", name="Reject").click()

    expect(page.get_by_text("Your rejection is recorded")).to_be_visible()
    expect(page.get_by_role("button", name="Reject")).to_have_count(0)
    assert world.promotion(promotion)["state"] == "rejected"
    assert page.faults == []


def test_a_requester_may_not_approve_and_sees_the_reason(world, visiting):
    both = [("publisher", world.namespace), ("approver", world.namespace)]
    name, token = world.a_principal(None, *both)
    promotion = world.request(world.an_evaluated_version(), by=token).json()
    page = visiting(token, f"/admin/promotions/{promotion['id']}")

    expect(
        page.get_by_role("complementary").get_by_text(f"{name} is the requester")
    ).to_be_visible()
    for verdict in ("Approve", "Reject"):
        expect(page.get_by_role("button", name=verdict)).to_have_count(0)


def test_a_reviewer_who_contributed_after_the_page_was_loaded_is_refused(world, visiting):
    roles = [("evaluator", world.namespace), ("approver", world.namespace)]
    name, token = world.a_principal(None, *roles)
    promotion = world.a_promotion()
    page = visiting(token, f"/admin/promotions/{promotion['id']}")
    version = world.made("GET", f"{world.path}/versions/1", by="publisher")
    assert world.evaluate(version, by=token).status_code == 201

    approve(page)

    reason = f"{name} is an evaluator of the promoted versions"
    expect(page.get_by_role("alert")).to_contain_text(reason)
    expect(page.get_by_role("alert")).to_be_focused()
    assert world.promotion(promotion)["reviews"] == []


def test_an_ended_session_leads_to_sign_in_and_back_without_a_change(world, visiting, time, tokens):
    promotion = world.a_promotion()
    path = f"/admin/promotions/{promotion['id']}"
    page = visiting("approver-1", path)
    time.ahead = web_sessions.LONGEST_LIFETIME

    approve(page)

    expect(page.get_by_text("your session has ended. Nothing was changed.")).to_be_visible()
    assert world.promotion(promotion)["reviews"] == []
    sign_in(page, tokens["approver-1"])
    assert page.url.endswith(path)


def test_a_publisher_requests_a_promotion_on_the_gate_page(world, visiting):
    world.an_evaluated_version()
    page = visiting("publisher", f"/admin/prefixes/{world.prefix}/versions/1")
    page.get_by_role("button", name="production?").click()
    page.get_by_label("Why production should serve").fill("It is better.")
    page.get_by_role("button", name="Request the promotion").click()
    expect(page.get_by_text("The promotion is requested.")).to_be_visible()
    assert page.faults == []


def test_a_cell_shows_its_tooltip_and_arrow_keys_move_between_cells(story, visiting):
    path = f"/admin/prefixes/{story.prefix}/versions/4/gate/production"
    page = visiting("approver-1", path)
    table = page.get_by_role("table", name="brand-voice/tone: personas by locales")
    failing = table.get_by_role("button", name=re.compile("upset, de: .* fails"))
    tip = page.get_by_role("tooltip").filter(has_text="tone · upset · de")

    expect(tip).to_be_hidden()
    failing.hover()
    expect(tip).to_contain_text("at least 0.85")
    expect(tip).to_contain_text("120")
    page.mouse.move(0, 0)
    failing.focus()
    expect(tip).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()

    page.keyboard.press("ArrowUp")
    expect(table.get_by_role("button", name=re.compile("expert, de"))).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(table.get_by_role("button", name="expert, fr: – is missing")).to_be_focused()
    assert page.faults == []


def test_a_cell_shows_its_tooltip_without_javascript(story, visiting):
    path = f"/admin/promotions/{story.pending['id']}"
    page = visiting("approver-1", path, java_script_enabled=False)
    page.locator(".cell").first.focus()
    expect(page.get_by_role("tooltip").first).to_be_visible()
    expect(page.locator("figure[data-plot] table").first).to_be_attached()
    page.get_by_text("Numbers").first.click()
    expect(page.locator("figure[data-plot] table").first).to_be_visible()


def test_scores_and_norms_are_plotted(story, visiting):
    page = visiting("admin", f"/admin/prefixes/{story.prefix}")
    expect(page.locator("figure[data-plot] canvas")).to_have_count(2)
    page.goto(f"/admin/promotions/{story.pending['id']}")
    expect(page.locator("figure[data-plot] canvas")).to_have_count(1)
    assert page.faults == []


def test_searching_and_filtering_replace_a_part_of_the_page(story, visiting):
    page = visiting("admin", "/admin/prefixes")
    page.get_by_role("searchbox").press_sequentially("acme-pages")
    expect(page.locator("#found tbody tr")).to_have_count(1)
    assert "q=acme-pages" in page.url
    auditor = visiting("auditor", f"/admin/audit?subject=prefix:{story.prefix}")
    auditor.get_by_label("Action").fill("promotion.execute")
    auditor.keyboard.press("Tab")
    expect(auditor.locator("#entries tbody tr")).to_have_count(2)
    assert page.faults + auditor.faults == []


def test_the_keyboard_alone_reaches_the_decision_in_the_order_of_the_page(world, visiting):
    promotion = world.a_promotion()
    page = visiting("approver-1", f"/admin/promotions/{promotion['id']}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    seen = []
    for _ in range(25):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim()"))
        if seen[-1] == "Approve":
            break
    assert seen.index("production") < len(seen) if "production" in seen else seen
    assert seen[-1] == "Approve"
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_be_focused()
    assert len(world.promotion(promotion)["reviews"]) == 1


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_page_is_clipped_on_a_narrow_screen(story, visiting, width):
    page = visiting("approver-1", viewport={"width": width, "height": 800})
    prefix = f"/admin/prefixes/{story.prefix}"
    for path in (
        "/admin/",
        "/admin/reviews",
        f"/admin/promotions/{story.pending['id']}",
        prefix,
        f"{prefix}/versions/4",
        f"{prefix}/versions/4/gate/production",
        f"/admin/policies/{story.suite}-safe/1",
        "/admin/base-models",
    ):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    assert page.faults == []
