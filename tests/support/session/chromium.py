"""The browser that the tests of the pages drive: found, or installed by `python -m` this module.

In order: the program that `$CHROMIUM` names, one on the path, the one that Playwright downloaded.
Chromium's headless shell comes first on the path, as it draws nothing and takes a third less CPU.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
# The second for a Debian without the first.
PACKAGES = ("chromium-headless-shell", "chromium")
INSTALL = ("apt-get", "install", "--quiet", "--quiet", "--yes", "--no-install-recommends")


class NoBrowserError(Exception):
    """There is no browser, and none could be installed; the message says what would work."""


def found():
    """Return the path of a browser, or None."""
    if named := os.environ.get("CHROMIUM"):
        return named if Path(named).exists() else None
    for name in NAMES:
        if path := shutil.which(name):
            return path
    with sync_playwright() as playwright:
        downloaded = playwright.chromium.executable_path
    return downloaded if Path(downloaded).exists() else None


def require():
    """Return the path of a browser; install one if there is none, and say so.

    Raises:
        NoBrowserError: None could be installed.
    """
    if path := found():
        return path
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("The tests need Chromium: installing Debian's package with apt-get.", flush=True)  # noqa: T201
        run("apt-get", "update", "--quiet", "--quiet")
        for package in PACKAGES:
            if not found():
                run(*INSTALL, package, DEBIAN_FRONTEND="noninteractive")
    else:
        print("The tests need Chromium: downloading the one of Playwright.", flush=True)  # noqa: T201
        run(sys.executable, "-m", "playwright", "install", "chromium")
    if path := found():
        return path
    raise NoBrowserError(
        "The tests of the pages need Chromium, and it could not be installed. Install it yourself "
        "(on Debian: apt-get install chromium), or set CHROMIUM to the path of a browser."
    )


def run(*command, **environment):
    # A failure shows at the end, when there still is no browser.
    subprocess.run(command, env=os.environ | environment, check=False)


if __name__ == "__main__":
    try:
        require()
    except NoBrowserError as error:
        sys.exit(str(error))
