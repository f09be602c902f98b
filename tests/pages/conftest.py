"""A browser, a served registry with history, and signed-in users."""

from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import sync_playwright
from sqlalchemy import event

from app.services.identity import web_sessions
from tests.pages.login.test_session_cookies import Person
from tests.pages.story import Story
from tests.support.session import chromium

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
    program = chromium.found()
    assert program, (
        "Chromium is missing: run python -m tests.support.session.chromium, as `make test` does."
    )
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def axe():
    """The source of the accessibility checker, to run in a page."""
    assert AXE.exists(), "axe-core is missing: run python tools/vendor.py, as `make setup` does."
    return AXE.read_text()


@pytest.fixture(scope="session")
def story(url, tokens):
    """A registry with history; tests must not change it."""
    with httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
        story = Story(client, tokens, "acme-pages", "brand-voice")
        story.pending = story.build()
        yield story


@pytest.fixture
def reading(client, tokens):
    """Return a function that signs a principal in, by name or token, without a browser."""

    def reading(who):
        person = Person(client, tokens.get(who, who))
        assert person.sign_in().status_code == 303
        return person

    return reading


@pytest.fixture
def visiting(browser, url, tokens, sessions):
    """Return a function that opens a page as a principal, in a separate browser context."""
    contexts = []

    def visiting(who, path="/admin/", *, by_form=False, **options):
        context = browser.new_context(base_url=url, **options)
        contexts.append(context)
        token = tokens.get(who, who)
        if not by_form:
            cookie = web_sessions.sign_in(sessions, token=token).cookie
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
    """Collect the console and script errors of a page in `page.faults`."""
    page.set_default_timeout(10_000)
    page.faults = []
    page.on("console", lambda message: _note(page, message))
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    return page


def _note(page, message):
    # Refusals that tests provoke are no faults of the page; broken policies and scripts are.
    if message.type == "error" and "status of 4" not in message.text:
        page.faults.append(message.text)


@contextmanager
def counted(engine):
    """Collect the statements that the registry sends."""
    statements = []

    def note(_connection, _cursor, statement, *_):
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)
