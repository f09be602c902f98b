"""Two real servers on the same stores, and callers that never stop asking them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection
from urllib.parse import urlsplit

from tests.support.observing import eventually


@dataclass
class Replica:
    """A server's process and where it answers."""

    process: subprocess.Popen
    url: str

    def ask(self, path, token, **headers):
        """Return status and document (None without one) of a GET on a new connection."""
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
    """Run one server on migrated stores, from its first answer to the end of the block."""
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
            # Told to end, it no longer lets others wait for it; one that stands still is woken.
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(timeout=30)


@dataclass(frozen=True)
class Answer:
    """One answer: when it was asked for and came, and what it said."""

    begun: float
    ended: float
    status: int
    version: int | None


@dataclass
class Load:
    """Callers that ask for one path again and again, each on its own connection."""

    answers: list = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self, replica, path, token):
        with closing(replica.connection()) as connection:
            while not self.stopped.is_set():
                begun = time.monotonic()
                status, document = answer(connection, path, token)
                version = document.get("version") if status == 200 else None
                self.answers.append(Answer(begun, time.monotonic(), status, version))

    def since(self, moment):
        """Return the answers to what was asked after `moment`."""
        return [each for each in list(self.answers) if each.begun > moment]


@contextmanager
def load(replicas, path, token, *, callers=2):
    """Let `callers` ask each of `replicas` until the block ends; it begins with answers."""
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


def apart(coroutine):
    """Run a coroutine in a thread of its own: a browser's loop may be running in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
