"""A browser, a served registry with a past, and people who are signed in."""

from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import sync_playwright
from sqlalchemy import event

from app.http.deps import clock, request_time
from app.services.identity import web_sessions
from tests.conftest import Clock
from tests.pages.login.test_session_cookies import Person
from tests.pages.story import Story

CHROMIUM = Path("/usr/bin/chromium")
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser():
    assert CHROMIUM.exists(), "There is no Chromium: apt-get install -y chromium, as .ci/run does."
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def axe():
    """The accessibility checker, as text to run in a page."""
    assert AXE.exists(), "There is no axe-core: python tools/vendor.py, as `make setup` does."
    return AXE.read_text()


@pytest.fixture(scope="session")
def story(url, tokens):
    """A registry with a past, which no test changes."""
    with httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
        told = Story(client, tokens, "acme-pages", "brand-voice")
        told.pending = told.told()
        yield told


@pytest.fixture
def reading(client, tokens):
    """Read pages as somebody."""

    def reading(who):
        person = Person(client, tokens.get(who, who))
        assert person.sign_in().status_code == 303
        return person

    return reading


@pytest.fixture
def page_time(app):
    """The clock of API and pages; set `ahead` to let time pass."""
    moving = Clock()
    served = [
        app,
        *(route.app.app for route in app.routes if getattr(route, "name", "") == "pages"),
    ]
    for each in served:
        each.dependency_overrides[request_time] = moving
    yield moving
    for each in served:
        del each.dependency_overrides[request_time]


@pytest.fixture
def visiting(browser, url, tokens, sessions):
    """Open a page as somebody; returns it signed in, in a browser window of its own."""
    contexts = []

    def visiting(who, path="/admin/", *, by_form=False, **options):
        context = browser.new_context(base_url=url, **options)
        contexts.append(context)
        token = tokens.get(who, who)
        if not by_form:
            cookie = web_sessions.sign_in(sessions, token=token, now=clock()).cookie
            context.add_cookies([{"name": "registry_session", "value": cookie, "url": url}])
        page = watched(context.new_page())
        page.goto(path)
        if by_form:
            sign_in(page, token)
        return page

    yield visiting
    for context in contexts:
        context.close()


def sign_in(page, token):
    page.get_by_label("API token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()


def watched(page):
    """Let a page note what is wrong with it as it goes."""
    page.set_default_timeout(10_000)
    page.faults = []
    page.on("console", lambda message: _note(page, message))
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    return page


def _note(page, message):
    # A refusal that a test provokes is not a fault of the page; a broken policy or script is.
    if message.type == "error" and "status of 4" not in message.text:
        page.faults.append(message.text)


@contextmanager
def counted(engine):
    """Count the statements that the registry sends."""
    statements = []

    def note(_connection, _cursor, statement, *_):
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)
