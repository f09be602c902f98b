"""Runs the demo: exit status 0 if every act ended as it must, 1 with a sentence if not."""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

import httpx2

from demo import ending, environment, show
from demo.client import DemoFailedError
from demo.server import starting_registry


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda caught, _: sys.exit(128 + caught))
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument(
        "--keep", action="store_true", help="leave the registry running at the end, until Ctrl-C"
    )
    keep = parser.parse_args().keep
    try:
        with tempfile.TemporaryDirectory(prefix="prefix-registry-demo-") as folder:
            # PostgreSQL refuses to run as root, and its own user has to pass through.
            Path(folder).chmod(0o711)
            run(Path(folder), keep=keep)
    except (DemoFailedError, httpx2.HTTPError, OSError) as error:
        show.failure(str(error) or type(error).__name__)
        return 1
    except KeyboardInterrupt:
        show.failure("Interrupted; everything that was started has been stopped.")
        return 128 + signal.SIGINT
    return 0


def run(folder: Path, *, keep: bool) -> None:
    """Play every act beside a registry that lives in `folder`; if `keep`, stay until Ctrl-C."""
    environment.prepare()
    with starting_registry(folder / "registry") as starting:
        with show.act("A whole registry starts: PostgreSQL, S3 and the server"):
            # PyTorch takes seconds to import, and the servers need them to start.
            from demo import story  # noqa: PLC0415

            registry = starting.ready(timeout_s=60)
            show.good(f"It answers at {registry.http.base_url}.")
        story.tell(registry, folder)
        if keep:
            ending.stay(starting, registry, story.PAGES)
        else:
            ending.suggest()


if __name__ == "__main__":
    sys.exit(main())
