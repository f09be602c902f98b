"""A program that runs one server, to be killed by a test: `python -m tests.local.supervisor`."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from app.local.postgres import running_postgres
from app.local.s3 import running_s3
from tests.support.servers import probe_bucket


def supervise(server, folder):
    """Start a server from a thread that then ends, print its endpoint, and wait to be killed."""
    starts = {
        "postgres": lambda: running_postgres(folder),
        "s3": lambda: running_s3(folder, probe=probe_bucket),
    }
    with ExitStack() as stack:
        with ThreadPoolExecutor(1) as thread:
            endpoint = thread.submit(lambda: stack.enter_context(starts[server]())).result()
        sys.stdout.write(json.dumps(asdict(endpoint), default=str) + "\n")
        sys.stdout.flush()
        time.sleep(60)


if __name__ == "__main__":
    supervise(sys.argv[1], Path(sys.argv[2]))
