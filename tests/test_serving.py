"""The end of a server's process, whatever Python was doing when it was told to end."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Out of the callback of a weak reference no exception gets: Python prints it and goes on.
TOLD_IN_A_CALLBACK = """
import os, signal, sys, weakref
from fastapi import FastAPI
from app.serving import listening_socket, serve, stop_cleanly_on_signals

class Thing:
    pass

thing = Thing()
watched = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGTERM))
with listening_socket("127.0.0.1", 0) as bound:
    stop_cleanly_on_signals()
    del thing
    print("goes on", flush=True)
    serve(bound, workers=int(sys.argv[1]), app=FastAPI)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_whose_exception_was_dropped_ends_the_server_all_the_same(workers):
    ended = subprocess.run(
        [sys.executable, "-c", TOLD_IN_A_CALLBACK, str(workers)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.stdout == "goes on\n"
    assert "SystemExit" in ended.stderr
    assert ended.returncode == 0
