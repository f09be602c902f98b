"""The end of the demo: how to go on, and a registry that stays until Ctrl-C."""

import shlex
from collections.abc import Iterable
from contextlib import suppress

from demo import show
from demo.client import Registry, expect
from demo.server import Starting


def suggest() -> None:
    show.close("Next: `make serve` keeps a registry of your own running, in ./data.")
    show.say("Its pages are at http://127.0.0.1:8080/admin; data/credentials.json has the tokens.")
    show.say("`make demo KEEP=yes` plays this once more, and leaves it running to look around.")


def stay(starting: Starting, registry: Registry, paths: Iterable[str]) -> None:
    """Print where the pages are and how to sign in, and wait for Ctrl-C.

    Raises:
        DemoFailedError: The registry ended by itself.
    """
    pages = f"{str(registry.http.base_url).rstrip('/')}/admin"
    show.close(f"The registry stays until Ctrl-C. Its pages are at {pages}")
    show.say("Sign in there with a token of approver-1; this prints it:")
    show.line(f"grep approver-1 {shlex.quote(str(starting.credentials))}")
    show.say("Pages to look at:")
    for path in paths:
        show.line(f"{pages}/{path}")
    show.say("Later: `make serve` keeps a registry of your own running, in ./data.")
    with suppress(KeyboardInterrupt):
        starting.process.wait()
        expect(f"The registry ended by itself. {starting.log_end()}", that=False)
    show.close("Stopping the registry, and removing its folder.")
