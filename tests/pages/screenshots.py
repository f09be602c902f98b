"""Writes docs/images: screenshots of the pages of a local registry with history."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import httpx2
from playwright.sync_api import sync_playwright

from tests.pages.conftest import FLAGS, sign_in
from tests.pages.story import Story
from tests.support.session import chromium

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WIDE = {"width": 1080, "height": 700}
LARGEST_BYTES = 150_000


@contextmanager
def a_local_registry():
    """Run `prefix-registry local` on an empty folder; yield its URL and tokens."""
    with tempfile.TemporaryDirectory(prefix="prefix-registry-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL's user must be able to enter
        data = Path(folder) / "data"
        command = [sys.executable, "-m", "app.cli", "local", "--data", str(data), "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            yield credentials_of(data)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=60)


def credentials_of(data):
    for _ in range(600):
        try:
            found = json.loads((data / "credentials.json").read_text())
            httpx2.get(f"{found['url']}/readyz", trust_env=False).raise_for_status()
        except (OSError, ValueError, httpx2.HTTPError):
            time.sleep(0.1)
        else:
            return found["url"], found["tokens"]
    raise TimeoutError("the local registry did not start")


def shots(story):
    """Return the screenshots: file, principal, path, colour scheme, size and focused element."""
    prefix = f"/admin/prefixes/{story.prefix}"
    promotion = f"/admin/promotions/{story.pending['id']}"
    tall = {"width": 1000, "height": 790}
    narrow = {"width": 390, "height": 780}
    return [
        ("overview", "approver-1", "/admin/", "light", WIDE | {"height": 460}, None),
        ("gate", "publisher", f"{prefix}/versions/4/gate/production", "light", WIDE, None),
        ("promotion", "approver-1", promotion, "light", tall, ".cell >> nth=4"),
        ("promotion-dark", "approver-1", promotion, "dark", WIDE, None),
        ("prefix", "approver-1", prefix, "light", WIDE | {"height": 1000}, None),
        ("promotion-narrow", "approver-1", promotion, "light", narrow, None),
    ]


def take(browser, url, tokens, shot):
    name, who, path, scheme, viewport, focused = shot
    context = browser.new_context(base_url=url, color_scheme=scheme, viewport=viewport)
    page = context.new_page()
    page.goto("/admin/sign-in")
    sign_in(page, tokens[who])
    page.goto(path)
    if focused:
        page.focus(focused)
    page.wait_for_timeout(200)  # plots appear in the next frame
    image = page.screenshot(path=IMAGES / f"{name}.png")
    context.close()
    if len(image) > LARGEST_BYTES:
        raise ValueError(f"{name}.png has {len(image)} bytes; show less")


def main():
    IMAGES.mkdir(exist_ok=True)
    program = chromium.require()
    with a_local_registry() as (url, tokens), sync_playwright() as playwright:
        with httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
            story = Story(client, tokens, "acme", "brand-voice")
            story.pending = story.build()
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        for shot in shots(story):
            take(browser, url, tokens, shot)
        browser.close()


if __name__ == "__main__":
    main()
