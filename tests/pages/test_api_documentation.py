"""The page at /docs: every file from this server, no inline script, and no other host."""

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from app.main import app_of
from app.pages import api_documentation
from tests.pages.conftest import watched
from tests.pages.login.test_session_cookies import Person
from tests.support.session.in_process import InProcessClient

# Loaded by the page; a relative address is this server's.
LOADED = re.compile(r'(?:src|href)="([^"]+)"')


@pytest.fixture
def page(browser, url):
    """A page that reaches this server alone; `asked` collects the hosts that it asks for."""
    context = browser.new_context(base_url=url)
    page = watched(context.new_page())
    page.asked = set()

    def only_here(route):
        host = urlsplit(route.request.url).netloc
        page.asked.add(host)
        if host == urlsplit(url).netloc:
            route.continue_()
        else:
            route.abort()

    # `data:` addresses have no host, and no network.
    page.route(lambda address: not address.startswith("data:"), only_here)
    yield page
    context.close()


def test_the_page_works_in_a_browser_that_reaches_no_other_host(page, url):
    page.goto("/docs")
    expect(page.get_by_role("heading", name=re.compile("Prefix registry"))).to_be_visible()
    operation = page.locator("[id^=operations-policies-create_policy]")
    operation.get_by_role("button").first.click()
    expect(operation.get_by_text("Responses", exact=True)).to_be_visible()
    assert page.asked == {urlsplit(url).netloc}
    assert page.faults == [], "the page needs nothing that its policy forbids"


def test_an_operation_can_be_tried_with_a_token(page, tokens):
    page.goto("/docs")
    page.get_by_role("button", name="Authorize").first.click()
    page.get_by_label("auth-bearer-value").fill(tokens["reader"])
    page.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close").click()
    operation = page.locator("[id^=operations-identity-me]")
    operation.get_by_role("button").first.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.get_by_text('"reader"').first).to_be_visible()
    assert page.faults == []


def test_the_page_has_no_inline_script_and_only_files_of_this_server(client):
    response = client.get("/docs")
    directives = dict(
        each.strip().split(" ", 1)
        for each in response.headers["content-security-policy"].split(";")
    )
    assert directives == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "form-action": "'none'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", response.text)
    loaded = LOADED.findall(response.text)
    assert len(loaded) == 5
    for address in loaded:
        assert address.startswith("/")
        assert client.get(address).status_code == 200, address


def test_without_its_files_the_page_says_what_to_run(client, monkeypatch, tmp_path):
    monkeypatch.setattr(api_documentation, "STATIC", tmp_path)
    text = client.get("/docs").text
    assert "make setup" in text
    assert "<script" not in text
    assert 'href="/openapi.json"' in text


@pytest.mark.parametrize("is_served", [True, False])
def test_pages_link_to_the_documentation_where_there_is_one(parts, tokens, is_served):
    with InProcessClient(app_of(parts, serves_docs=is_served)) as client:
        person = Person(client, tokens["reader"])
        person.sign_in()
        assert ('href="/docs"' in person.get("/admin/").text) is is_served
