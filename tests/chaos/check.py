"""Checks a registry's contents against the responses that its clients received."""

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select

from app.db.models import AuditChain
from app.db.session import engine_for, sessions_on
from tests.chaos.load import SAMPLES
from tests.chaos.rows import CELLS, inconsistencies

CONCURRENT_CLIENTS = 20


def violations(registry, load):
    """Yield every violation of the registry's guarantees, as a sentence."""
    yield from load.fleet.wrong
    for line in load.lines:
        yield from line.stale
    yield from unexpected_refusals(load.journal)
    for world in load.worlds:
        own = [each for each in load.journal if each.facts["prefix"] == world.prefix]
        yield from Reconciliation(world, own).violations()
    engine = engine_for(registry.stores.postgres.service_url)
    yield from inconsistencies(sessions_on(engine))
    with engine.connect() as connection:
        subjects = connection.scalars(select(AuditChain.subject)).all()
    engine.dispose()
    yield from broken_chains(load.worlds[0], subjects)
    yield from broken_connections(load.worlds[0])


def unexpected_refusals(journal):
    """Yield the refused operations: clients only make permitted requests."""
    for operation in journal:
        refused = operation.refused or ""
        # An earlier rollback, whose client gave up, may have taken effect.
        if refused and "/problems/nothing-to-change" not in refused:
            yield f"{operation.kind} was refused after {operation.attempts} attempts: {refused}"


class Reconciliation:
    """Compares the responses to the clients of one prefix with the API's present state."""

    def __init__(self, world, journal):
        self.world = world
        self.journal = journal
        self.by_mark = {each.mark: each for each in journal}
        self.versions = self.all(f"{world.path}/versions")
        self.promotions = [
            each for each in self.all("/v1/promotions") if each["prefix"] == world.prefix
        ]

    def response_to(self, mark):
        """Return the response to an acknowledged operation, or None."""
        return self.by_mark[mark].answer if mark in self.by_mark else None

    def all(self, path, by="publisher"):
        """Return all items of a list, page by page."""
        items, query = [], {"limit": 200}
        while True:
            page = self.world.made("GET", path, by=by, params=query)
            items += page["items"]
            if page["next"] is None:
                return items
            query["cursor"] = page["next"]

    def violations(self):
        yield from self.pushes()
        yield from self.evaluations()
        yield from self.requests()
        yield from self.reviews()
        yield from self.channels()

    def effects(self, kind, found):
        """Yield differences between operations and their effects, given as (mark, document).

        An acknowledged operation has exactly one effect, a refused one none, an uncertain one at
        most one. Every effect belongs to an operation.
        """
        times = Counter(mark for mark, _ in found)
        for operation in (each for each in self.journal if each.kind == kind):
            seen = times.pop(operation.mark, 0)
            if operation.answer is not None and seen != 1:
                yield f"an acknowledged {kind} took effect {seen} times: {operation}"
            if operation.refused is not None and seen:
                yield f"a refused {kind} took effect: {operation}"
            if seen > 1:
                yield f"one {kind} took effect {seen} times: {operation}"
        yield from (f"no client requested this {kind}: {mark}" for mark in times)

    def pushes(self):
        found = [(each["lineage"]["run"], each) for each in self.versions]
        yield from self.effects("push", found)
        for mark, version in found:
            response = self.response_to(mark)
            compared = ("number", "digest", "files")
            if response and any(response[name] != version[name] for name in compared):
                yield f"version {version['number']} differs from its acknowledgement"
            hashes = {file["name"]: file["sha256"] for file in version["files"]}
            operation = self.by_mark.get(mark)
            if operation and hashes["adapter_model.safetensors"] != operation.facts["weights"]:
                yield f"version {version['number']} holds other weights than were pushed"
            for name, sha256 in hashes.items():
                path = f"{self.world.path}/versions/{version['number']}/files/{name}"
                yield from self.bytes_of(path, sha256)

    def bytes_of(self, path, sha256):
        """Yield the reason why the file at `path` does not have that digest, if any."""
        response = self.world.call("GET", path, by="publisher")
        if response.status_code != 200:
            yield f"{path} is missing: {response.text}"
        elif f"sha256:{hashlib.sha256(response.content).hexdigest()}" != sha256:
            yield f"{path} does not hash to its digest"

    def evaluations(self):
        found = []
        for version in self.versions:
            path = f"{self.world.path}/versions/{version['number']}/evaluations"
            found += [(each["settings"]["mark"], each) for each in self.all(path)]
        yield from self.effects("evaluate", found)
        for mark, evaluation in found:
            response = self.response_to(mark)
            if response and response != evaluation:
                yield f"evaluation {evaluation['id']} differs from its acknowledgement"
            if [cell["samples"] for cell in evaluation["cells"]] != [SAMPLES] * CELLS:
                yield f"evaluation {evaluation['id']} lacks samples"
            for file in evaluation["files"]:
                path = f"/v1/evaluations/{evaluation['id']}/files/{file['name']}"
                yield from self.bytes_of(path, file["sha256"])

    def requests(self):
        found = [(each["reason"], each) for each in self.promotions]
        yield from self.effects("request", found)
        for mark, promotion in found:
            response = self.response_to(mark)
            if response and any(response[name] != promotion[name] for name in ("id", "allocation")):
                yield f"promotion {promotion['id']} differs from its acknowledgement"

    def reviews(self):
        reviews = [
            (review["comment"], promotion)
            for promotion in self.promotions
            for review in promotion["reviews"]
        ]
        yield from self.effects("approve", reviews)
        for mark, promotion in reviews:
            response = self.response_to(mark)
            if response and response["state"] == "executed" and promotion["state"] != "executed":
                yield f"promotion {promotion['id']} is {promotion['state']} but was executed"
        for promotion in self.promotions:
            state, approvals = promotion["state"], len(promotion["reviews"])
            if (state == "executed") != (approvals == 2):
                yield f"promotion {promotion['id']} is {state} on {approvals} approvals"

    def channels(self):
        names = {each.facts["channel"] for each in self.journal}
        rollbacks = []
        for name in sorted(names):
            history = self.all(f"{self.world.path}/channels/{name}/history")
            rollbacks += [(e["reason"], e) for e in history if e["kind"] == "rollback"]
            yield from self.channel(name, history)
        yield from self.effects("rollback", rollbacks)

    def channel(self, name, history):
        serves = self.world.channel(name)
        latest = history[0] if history else {"generation": 0, "allocation": []}
        if any(serves[fact] != latest[fact] for fact in ("generation", "allocation")):
            yield f"{name} serves {serves}, and its latest generation is {latest}"
        executed = {each["id"]: each for each in self.promotions if each["state"] == "executed"}
        by_promotion = {each["promotion"]: each for each in history if each["promotion"]}
        for promotion_id, generation in by_promotion.items():
            promotion = executed.pop(promotion_id, None)
            if promotion is None or promotion["allocation"] != generation["allocation"]:
                yield f"generation {generation} of {name} belongs to no executed promotion"
        yield from (f"{p} left no generation" for p in executed.values() if p["channel"] == name)
        yield from self.acknowledged_generations(name, history)

    def acknowledged_generations(self, name, history):
        allocations = {each["generation"]: each["allocation"] for each in history}
        for operation in self.journal:
            response = operation.answer
            if operation.kind != "rollback" or operation.facts["channel"] != name or not response:
                continue
            if allocations.get(response["generation"]) != response["allocation"]:
                yield f"generation {response['generation']} of {name} differs from its rollback"


def broken_chains(world, subjects):
    for subject in subjects:
        verification = world.verification(subject)
        if not verification["valid"]:
            yield f"the chain of {subject} does not verify: {verification}"


def broken_connections(world):
    """Yield failed requests among more concurrent ones than both pools have connections."""

    def ask(_):
        return world.call("GET", f"{world.path}/versions", by="publisher")

    with ThreadPoolExecutor(CONCURRENT_CLIENTS) as clients:
        for response in clients.map(ask, range(10 * CONCURRENT_CLIENTS)):
            if response.status_code != 200:
                yield f"after recovery: {response.status_code} {response.text}"
