"""Clients that push, evaluate, promote and roll back, while a fleet pulls."""

import copy
import hashlib
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2

from tests.chaos.journal import ANSWER_TIMEOUT_S, Client, GaveUpError, Operation
from tests.support.builders import CARD, LOCALES, PERSONAS, World, weights

PAUSE_S = 0.02  # after a pull; without it, pulls would take most of the machine
SAMPLES = 20  # in each cell: enough to show 0.85 if all succeed


class Line:
    """A client with its own channel, which pushes to a prefix that it shares with others."""

    def __init__(self, world, url, name, journal):
        self.name = name
        self.client = Client(url, journal)
        self.world = copy.copy(world)
        self.world.client = self.client
        self.path = f"{world.path}/channels/{name}"
        self.stale = []
        assert self.world.bind(world.policy, name).status_code == 200

    def run(self, stopped):
        while not stopped.is_set():
            try:
                self.release()
                if random.random() < 0.5:
                    self.roll_back()
            except GaveUpError:
                continue

    def release(self):
        version = self.push(random.getrandbits(22))
        self.evaluate(version)
        promotion = self.ask_for(version)
        for reviewer in ("approver-1", "approver-2"):
            self.approve(promotion, reviewer)
        history = self.look(f"{self.path}/history")["items"]
        self.require_served(
            max(each["generation"] for each in history if each["promotion"] == promotion["id"])
        )

    def require_served(self, generation):
        """Resolve on new connections, to reach both workers, and check the generation."""
        path, query = f"/v1/resolve/{self.world.prefix}", {"channel": self.name}
        close = {"Connection": "close"}
        for _ in range(4):
            try:
                found = self.world.call("GET", path, by="reader", params=query, headers=close)
            except httpx2.TransportError:
                continue
            if found.status_code == 200 and found.json()["generation"] < generation:
                self.stale.append(f"{path} of {self.name} was older than {generation}")

    def do(self, operation, send):
        operation.facts |= {"prefix": self.world.prefix, "channel": self.name}
        return self.client.persist(operation, send)

    def push(self, seed):
        operation = Operation("push")
        content = weights(seed)
        operation.facts["weights"] = f"sha256:{hashlib.sha256(content).hexdigest()}"
        lineage = {"run": operation.mark}
        described = {"base_model": self.world.base, "card": CARD, "lineage": lineage}
        version = json.dumps(described)
        return self.do(operation, lambda: self.world.push(version=version, weights=content))

    def evaluate(self, version):
        operation = Operation("evaluate")
        operation.facts["version"] = version["number"]
        report = self.world.report(version, settings={"mark": operation.mark}, results=[])
        path = f"{self.world.path}/versions/{version['number']}/evaluations"
        files = {
            "evaluation": ("evaluation", json.dumps(report)),
            "samples": ("samples", good_samples(operation.mark)),
        }
        self.do(operation, lambda: self.world.call("POST", path, by="evaluator", files=files))

    def ask_for(self, version):
        operation = Operation("request")
        operation.facts["version"] = version["number"]
        changes = {"channel": self.name, "reason": operation.mark}
        return self.do(operation, lambda: self.world.request(version, **changes))

    def approve(self, promotion, reviewer):
        operation = Operation("approve")
        operation.facts["promotion"] = promotion["id"]
        comment = operation.mark
        self.do(operation, lambda: self.world.review(promotion, by=reviewer, comment=comment))

    def look(self, path):
        return self.do(Operation("look"), lambda: self.world.call("GET", path, by="publisher"))

    def roll_back(self):
        """Roll back to the previous generation, which has a different allocation."""
        channel = self.look(self.path)
        if channel["generation"] < 2:
            return
        operation = Operation("rollback")
        body = {"generation": channel["generation"] - 1, "reason": operation.mark}
        path = f"{self.path}/rollback"
        channel = self.do(
            operation, lambda: self.world.call("POST", path, by="approver-1", json=body)
        )
        self.require_served(channel["generation"])


class Fleet:
    """Readers that resolve channels and verify the bytes they download."""

    def __init__(self, world, url, channels):
        self.world = copy.copy(world)
        self.client = self.world.client = httpx2.Client(base_url=url, timeout=ANSWER_TIMEOUT_S)
        self.channels = channels
        self.pulled = 0
        self.wrong = []

    def run(self, stopped):
        while not stopped.is_set():
            try:
                self.pull(random.choice(self.channels))
                stopped.wait(PAUSE_S)
            except httpx2.TransportError:
                time.sleep(0.1)

    def pull(self, channel):
        resolved = self.world.resolve(channel=channel)
        if resolved.status_code != 200:
            time.sleep(0.1)
            return
        served = resolved.json()
        file = served["files"][-1]
        path = f"{self.world.path}/versions/{served['version']}/files/{file['name']}"
        found = self.world.call("GET", path, by="reader")
        if found.status_code != 200:
            return
        self.pulled += 1
        if f"sha256:{hashlib.sha256(found.content).hexdigest()}" != file["sha256"]:
            self.wrong.append(f"{path} of {channel} was served with other bytes")


class Load:
    """All clients, each of which works in its own thread within `at_work()`."""

    def __init__(self, registry, *, prefixes=2, lines_each=2):
        self.journal = []
        self.worlds = [a_world(registry) for _ in range(prefixes)]
        self.lines = [
            Line(world, registry.url, f"line-{number}", self.journal)
            for world in self.worlds
            for number in range(lines_each)
        ]
        channels = [line.name for line in self.lines[:lines_each]]
        self.fleet = Fleet(self.worlds[0], registry.url, channels)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in (*self.worlds, *self.lines, self.fleet):
            each.client.close()

    @contextmanager
    def at_work(self):
        stopped = threading.Event()
        with ThreadPoolExecutor(len(self.lines) + 1) as threads:
            running = [threads.submit(each.run, stopped) for each in (*self.lines, self.fleet)]
            try:
                yield
            finally:
                stopped.set()
        for each in running:
            each.result()

    def longest_wait(self, since):
        """Return the longest wait of a client for an answer, of those since then."""
        return max(line.client.longest_wait(since) for line in self.lines)

    def counts(self):
        """Return the numbers of acknowledged, refused and uncertain operations, and of pulls."""
        done = [each for each in self.journal.copy() if each.kind != "look"]
        acknowledged = sum(each.answer is not None for each in done)
        refused = sum(each.refused is not None for each in done)
        return acknowledged, refused, len(done) - acknowledged - refused, self.fleet.pulled


def a_world(registry):
    """Create a prefix, and a policy that good samples and two approvals satisfy."""
    world = World(httpx2.Client(base_url=registry.url, timeout=ANSWER_TIMEOUT_S), registry.tokens)
    world.a_base()
    world.a_prefix()
    world.a_suite()
    rule = {"metric": f"{world.suite}/tone", "min_samples": SAMPLES, "at_least": 0.85}
    world.policy = world.a_policy(rules=[rule])
    return world


def good_samples(mark):
    """Return the rows of a run in which all samples succeed, unique to `mark`."""
    rows = [
        {
            "id": f"{mark}-{persona}-{locale}-{number}",
            "persona": persona,
            "locale": locale,
            "scores": {"tone": 1},
        }
        for persona in PERSONAS
        for locale in LOCALES
        for number in range(SAMPLES)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()
