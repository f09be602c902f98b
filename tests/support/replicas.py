"""Real servers on the same stores, and clients that send requests in a loop."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection
from urllib.parse import urlsplit

from tests.support.observing import eventually

# Between two requests of a client, short beside the time that a change takes to be acknowledged.
PAUSE_S = 0.002


@dataclass
class Replica:
    """A server's process and its URL."""

    process: subprocess.Popen
    url: str

    def ask(self, path, token, **headers):
        """Send a GET on a new connection; return the status and the document or None."""
        with closing(self.connection()) as connection:
            return answer(connection, path, token, **headers)

    def lives(self):
        with suppress(ConnectionRefusedError):
            return self.ask("/healthz", "")[0] == HTTPStatus.OK
        return False

    def connection(self, timeout=40):
        where = urlsplit(self.url)
        return HTTPConnection(where.hostname, where.port, timeout=timeout)

    def signal(self, number):
        self.process.send_signal(number)


def answer(connection, path, token, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} | named)
    response = connection.getresponse()
    body = response.read()
    return response.status, json.loads(body) if body else None


@contextmanager
def replica(stores):
    """Run one server on migrated stores, from its first response to the end of the block."""
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0"]
    with subprocess.Popen(
        command,
        env=os.environ | stores.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            url = process.stdout.readline().removeprefix("Serving ").strip()
            started = Replica(process, url)
            eventually(started.lives, within_s=60)
            yield started
        finally:
            # A stopped process must continue first. A clean end releases its lease, so that no
            # other server waits for it.
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(timeout=30)


@dataclass(frozen=True)
class Answer:
    """One response: its start and end times, its status and version."""

    begun: float
    ended: float
    status: int
    version: int | None


@dataclass
class Load:
    """Clients that request one path in a loop, each on its own connection."""

    answers: list = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self, replica, path, token):
        with closing(replica.connection()) as connection:
            while not self.stopped.is_set():
                begun = time.monotonic()
                status, document = answer(connection, path, token)
                version = document.get("version") if status == 200 else None
                self.answers.append(Answer(begun, time.monotonic(), status, version))
                self.stopped.wait(PAUSE_S)

    def since(self, moment):
        """Return the responses to requests sent after `moment`."""
        return [each for each in list(self.answers) if each.begun > moment]


@contextmanager
def load(replicas, path, token, *, callers=2):
    """Run `callers` clients for each replica until the block ends; start after some responses."""
    loaded = Load()
    threads = [
        threading.Thread(target=loaded.run, args=(each, path, token))
        for each in replicas
        for _ in range(callers)
    ]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: len(loaded.answers) > 20 * len(threads), within_s=20)
        yield loaded
    finally:
        loaded.stopped.set()
        for thread in threads:
            thread.join()
