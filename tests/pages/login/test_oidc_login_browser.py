"""Sign-in through an issuer in a real browser that treats the issuer as another site."""

from dataclasses import replace

import pytest
from playwright.sync_api import expect

from app.main import app_of
from app.oidc.issuers import Issuers
from tests.oidc.issuing import issuing
from tests.oidc.test_issuers import bind
from tests.pages.conftest import watched
from tests.pages.login.travelling import signed_in_through
from tests.pages.test_accessibility import violations
from tests.support.observing import free_port
from tests.support.session.served import serving


@pytest.fixture(scope="module")
def people():
    """An issuer on a different host from the registry's, so that `SameSite` applies."""
    with issuing("people", host="localhost") as (people,):
        yield people


@pytest.fixture(scope="module")
def federated_url(parts, people):
    port = free_port()
    issuers = Issuers([signed_in_through(people, url=f"http://127.0.0.1:{port}")])
    with serving(app_of(replace(parts, issuers=issuers)), port=port) as url:
        yield url


@pytest.fixture
def person_name(world, world_on, people, federated_url):
    """The name of a principal bound to the issuer's claims of that name."""
    name, _ = world.a_principal(None, ("approver", world.namespace))
    federated = world_on(issuers=Issuers([signed_in_through(people, url=federated_url)]))
    assert bind(federated, name, (people, {"sub": name})).status_code == 200
    return name


@pytest.fixture
def opened(browser, federated_url):
    contexts = []

    def opened(path, **options):
        context = browser.new_context(base_url=federated_url, **options)
        contexts.append(context)
        page = watched(context.new_page())
        page.goto(path)
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scripts", [True, False], ids=["htmx", "without-javascript"])
def test_a_person_signs_in_at_the_issuer_lands_on_the_page_and_signs_out(
    opened, person_name, federated_url, people, scripts
):
    page = opened("/admin/reviews", java_script_enabled=scripts)
    page.get_by_role("button", name="Sign in with people").click()
    page.get_by_label("Name").fill(person_name)
    assert page.url.startswith(people.url)
    page.get_by_role("button", name="Allow").click()

    expect(page.get_by_role("heading", name="Reviews")).to_be_visible()
    assert page.url == f"{federated_url}/admin/reviews"
    expect(page.get_by_role("banner").get_by_text(person_name)).to_be_visible()
    (cookie,) = (each for each in page.context.cookies() if each["name"] == "registry_session")
    assert (cookie["sameSite"], cookie["httpOnly"]) == ("Strict", True)
    assert "registry_sign_in_attempt" not in {each["name"] for each in page.context.cookies()}

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto("/admin/reviews")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.faults == []


def test_a_user_who_declines_at_the_issuer_sees_it_and_can_start_again(opened, person_name):
    page = opened("/admin/reviews")
    for verdict in ("Deny", "Allow"):
        page.get_by_role("button", name="Sign in with people").click()
        page.get_by_label("Name").fill(person_name)
        page.get_by_role("button", name=verdict).click()
        if verdict == "Deny":
            expect(page.get_by_role("alert")).to_contain_text("the issuer reports access_denied")
    expect(page.get_by_role("heading", name="Reviews")).to_be_visible()
    assert page.faults == []


def test_a_page_open_at_the_issuer_for_another_browser_lets_nobody_in_here(
    opened, person_name, people
):
    """A victim who opens the attacker's authorization response as a link is not signed in."""
    attacker = opened("/admin/")
    attacker.get_by_role("button", name="Sign in with people").click()
    attacker.get_by_label("Name").wait_for()
    query = attacker.url.partition("?")[2]
    link = people.desk.decided(query, person_name)

    victim = opened(link)

    expect(victim.get_by_role("alert")).to_contain_text("not the latest one of this browser")
    victim.goto("/admin/")
    expect(victim.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_sign_in_page_with_an_issuer_has_no_violation(opened, axe):
    page = opened("/admin/sign-in", viewport={"width": 390, "height": 800})
    assert violations(page, axe) == []
