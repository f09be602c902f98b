"""The growth of latencies with stored data: up to a million versions, ten million cells."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from benchmarks.driver import Client, Request
from benchmarks.plans import LARGE_ROWS, Plan, PlanLog, logging_plans
from benchmarks.population import (
    CELLS,
    DEEP,
    PER_PREFIX,
    PREFIXES_PER_CHANNEL,
    VERSIONS_PER_EVALUATION,
    Population,
    connect,
    name_of,
)
from benchmarks.registry import BASE, Installation, Registry, installation, served
from benchmarks.series import Section, timed

_ROUNDS: Final = 3
_SLOW_S: Final = 1.0  # slower requests are sent once a round, not for a period


@dataclass(frozen=True, slots=True)
class Probe:
    """A request whose latency is measured."""

    name: str
    principal: str
    target: str
    reads_much: bool = False  # inherently, such as a whole audit chain

    def of(self, registry: Registry) -> tuple[Client, Request]:
        """Return the request and its client: a program with a token, or a browser."""
        is_page = self.target.startswith("/admin/")
        client = registry.browser_of(self.principal) if is_page else registry.by(self.principal)
        return client, client.request("GET", self.target)


def requests(versions: int) -> list[Probe]:
    """Return the requests to measure on a registry with this many versions."""
    prefix = name_of(versions // PER_PREFIX // 2 // PREFIXES_PER_CHANNEL * PREFIXES_PER_CHANNEL)
    namespace = prefix.partition("/")[0]
    path, deep = f"/v1/prefixes/{prefix}", f"/v1/prefixes/{DEEP}"
    # Every fourth version is evaluated; take the first such version of this prefix.
    first = (int(prefix.rpartition("-")[2]) - 1) * PER_PREFIX
    number = next(n for n in range(1, 10) if (first + n) % VERSIONS_PER_EVALUATION == 0)
    listing = f"/v1/prefixes?{urlencode({'base_model': BASE})}"
    subject = urlencode({"subject": f"prefix:{DEEP}"})
    return [
        Probe("resolve", "reader", f"/v1/resolve/{prefix}"),
        Probe("one version", "publisher", f"{path}/versions/{number}"),
        Probe("list prefixes", "publisher", "/v1/prefixes"),
        Probe("list prefixes, as a reader", "reader", "/v1/prefixes"),
        Probe("filter by namespace", "publisher", f"/v1/prefixes?namespace={namespace}"),
        Probe("filter by name, one match", "publisher", f"/v1/prefixes?q={quote(prefix)}"),
        Probe("filter by name, no match", "publisher", "/v1/prefixes?q=nowhere"),
        Probe("filter by name, all match", "publisher", "/v1/prefixes?q=PRE"),
        Probe("filter by name, as a reader", "reader", f"/v1/prefixes?q={quote(prefix)}"),
        Probe("filter by base model", "publisher", listing),
        Probe("list versions of the deep prefix", "publisher", f"{deep}/versions"),
        Probe("list evaluations", "publisher", f"{path}/versions/{number}/evaluations"),
        Probe("gate", "evaluator", f"{path}/versions/{number}/gate?channel=production"),
        Probe("channel and history", "publisher", f"{path}/channels/production/history"),
        Probe("list promotions", "publisher", "/v1/promotions?state=executed"),
        Probe("audit, one subject", "auditor", f"/v1/audit?{subject}"),
        Probe("audit, all", "auditor", "/v1/audit"),
        Probe(
            "audit verify, deep prefix", "auditor", f"/v1/audit/verify?{subject}", reads_much=True
        ),
        Probe("page: overview", "publisher", "/admin/"),
        Probe("page: prefixes", "publisher", "/admin/prefixes"),
        Probe("page: the deep prefix", "publisher", f"/admin/prefixes/{DEEP}"),
        Probe("page: a version", "publisher", f"/admin/prefixes/{prefix}/versions/{number}"),
        Probe("page: promotions", "publisher", "/admin/promotions?state=executed"),
        Probe("page: base models", "publisher", "/admin/base-models"),
        Probe("page: audit", "auditor", "/admin/audit"),
    ]


def growth(section: Section, folder: Path, *, sizes: Sequence[int], seconds: float) -> None:
    """Load and measure each size in turn; then explain every statement at the largest."""
    with installation(folder) as installed:
        with served(installed) as registry:
            registry.populate(versions=1)
        population = Population(connect(installed.stores.postgres.owner_url))
        for versions in sizes:
            loaded = timed(lambda size=versions: population.grow(size))  # type: ignore[misc]
            print(f"Loaded {_amount(versions)} in {loaded:.0f} s.", flush=True)
            with served(installed) as registry:
                _measure(section, registry, versions, seconds)
        _explain(section, installed, sizes[-1], population)
        population.connection.close()
    section.text = f"The largest size: {_amount(sizes[-1])}.\n\n{section.text}"


def _measure(section: Section, registry: Registry, versions: int, seconds: float) -> None:
    for probe in requests(versions):
        client, request = probe.of(registry)
        first = timed(lambda: client.send(request))  # noqa: B023 - called immediately
        if first > _SLOW_S:
            latencies = [timed(lambda: client.send(request)) for _ in range(_ROUNDS)]  # noqa: B023
        else:
            share = seconds / _ROUNDS
            loads = [client.load(request, connections=1, seconds=share) for _ in range(_ROUNDS)]
            latencies = [load.quantile_ms(0.5) / 1000 for load in loads]
        section.add(probe.name, f"{versions:,} versions", "ms", *(1000 * x for x in latencies))


def _explain(
    section: Section, installed: Installation, versions: int, population: Population
) -> None:
    plans = logging_plans(installed.stores.postgres)
    large = _large_tables(population)
    with served(installed) as registry:
        plans.exclude_background_statements()
        found = [(probe, _plans_of(plans, registry, probe)) for probe in requests(versions)]
    for probe, explained in found:
        section.problems += _problems(probe, explained, large)
    section.text = "\n".join(_outlines(found))


def _problems(probe: Probe, plans: Sequence[Plan], large: set[str]) -> Iterable[str]:
    """Yield the reads whose cost grows with the registry."""
    if probe.reads_much:
        return
    if scanned := {table for plan in plans for table in plan.sequentially_scanned()} & large:
        yield f"{probe.name}: a sequential scan of {', '.join(sorted(scanned))}."
    most = max((plan.most_read() for plan in plans), default=0)
    if most > LARGE_ROWS:
        yield f"{probe.name}: one scan reads {most:,} rows."


def _plans_of(plans: PlanLog, registry: Registry, probe: Probe) -> list[Plan]:
    client, request = probe.of(registry)
    client.send(request)  # the first statements of a connection
    return plans.of(lambda: client.send(request))


def _large_tables(population: Population) -> set[str]:
    query = "SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples > %s"
    return {name for (name,) in population.connection.execute(query, [LARGE_ROWS])}


def _outlines(found: Iterable[tuple[Probe, list[Plan]]]) -> Iterable[str]:
    yield "<details><summary>The plan of every statement at the largest size</summary>\n"
    for probe, plans in found:
        yield f"\n**{probe.name}**: `GET {probe.target}`, {len(plans)} statements\n"
        yield "```text"
        same: dict[str, list[Plan]] = {}
        for plan in plans:
            same.setdefault(plan.statement, []).append(plan)
        for statement, runs in same.items():
            times = f"{len(runs)} times, together " if len(runs) > 1 else ""
            yield f"{times}{sum(each.milliseconds for each in runs):.2f} ms  {statement[:160]}"
            yield from (f"    {line}" for line in runs[0].outline())
        yield "```"
    yield "\n</details>"


def _amount(versions: int) -> str:
    evaluations = versions // VERSIONS_PER_EVALUATION
    prefixes = versions // PER_PREFIX
    return (
        f"{versions:,} versions of {prefixes:,} prefixes, {evaluations * CELLS:,} cells of "
        f"{evaluations:,} evaluations, {prefixes // PREFIXES_PER_CHANNEL:,} channels"
    )
