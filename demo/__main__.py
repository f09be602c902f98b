"""Runs the demo: exit status 0 if all went as told, 1 with a sentence if anything did not."""

import signal
import sys
import tempfile
from pathlib import Path

import httpx2

from demo import show
from demo.client import DemoFailedError
from demo.server import starting_registry


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with tempfile.TemporaryDirectory(prefix="prefix-registry-demo-") as folder:
            # PostgreSQL refuses to run as root, and its own user has to pass through.
            Path(folder).chmod(0o711)
            run(Path(folder))
    except (DemoFailedError, httpx2.HTTPError, OSError) as error:
        show.failure(str(error) or type(error).__name__)
        return 1
    except KeyboardInterrupt:
        show.failure("Interrupted; everything that was started has been stopped.")
        return 128 + signal.SIGINT
    show.close("Next: `make serve` keeps a registry of your own running, in ./data.")
    return 0


def run(folder: Path) -> None:
    """Tell the story beside a registry that lives in `folder`."""
    show.step("A whole registry starts: PostgreSQL, S3 and the server")
    with starting_registry(folder / "registry") as starting:
        # PyTorch takes seconds to import, and the servers need them to start.
        from demo import story  # noqa: PLC0415

        story.tell(starting.ready(timeout_s=60), folder)


if __name__ == "__main__":
    sys.exit(main())
