"""The comparison of the registry with MLflow, the bare framework and the object store."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from app.local.mode import Stores, running_stores
from benchmarks import footprint, journey, mlflow, requests, transfer, watching
from benchmarks.driver import BenchmarkError
from benchmarks.floor import Floor, floor
from benchmarks.mlflow import Mlflow, Variant
from benchmarks.registry import Installation, Registry, installation, served
from benchmarks.series import Section, measuring
from benchmarks.sizes import Sizes

REQUESTS: Final = Section(
    "requests",
    "Resolving and listing",
    "One request, repeated on persistent connections. MLflow's basic-auth gets at most 16, as each "
    "of its requests takes half a second of CPU.",
    reference="MLflow, no trap",
)
TRANSFER: Final = Section(
    "transfer",
    "Push and pull",
    "The files are made in advance. The registry receives, hashes and stores a push and checks "
    "every number in it; for S3 alone, the client hashes the file and stores it with boto3.",
    reference=transfer.STORE,
)
JOURNEY: Final = Section(
    "journey",
    "Governing a version",
    "A release is request, gate, approval and execution in the registry, and an alias in MLflow. "
    "The journey is push 10 MB, create the version, record 40 results, release, resolve, download.",
    reference="MLflow, no trap",
)
WATCHING: Final = Section(
    "watching",
    "A waiting fleet",
    f"{watching.WAITERS} clients wait in a `GET /v1/resolve/…?wait=30`, each on a separate "
    "connection, while a version is approved. Times count from the sending of the approval. The "
    "limits are 50 MiB, and 200 ms from the acknowledgement until 99 of 100 clients have the "
    "change; a negative time is before the acknowledgement.",
)
FOOTPRINT: Final = Section(
    "footprint",
    "Memory and start-up",
    "The server's processes, without database and object store.",
    reference="MLflow, no trap",
)

_REPORT_ORDER: Final = (REQUESTS, TRANSFER, JOURNEY, WATCHING, FOOTPRINT)

# A request with MLflow's basic-auth takes half a second of CPU: more connections only queue.
_MOST_WITH_AUTH: Final = 16
_LISTED_VERSIONS: Final = 60  # more than fill a page


@dataclass(frozen=True, slots=True)
class Running:
    """All compared systems. `raw` is the registries' object store by itself."""

    installed: Installation
    registries: Sequence[Registry]
    mlflow_stores: Stores
    mlflows: Sequence[Mlflow]
    floor: Floor
    raw: transfer.RawStore
    folder: Path

    @property
    def servers(self) -> list[Registry | Mlflow]:
        return [*self.registries, *self.mlflows]


def compared(
    folder: Path, sizes: Sizes, only: Sequence[str], variants: Sequence[Variant]
) -> list[Section]:
    """Start all systems and measure the chosen sections."""
    measured: list[Section] = []
    with _running(folder, _installed(variants)) as everything:
        with measuring(FOOTPRINT, measured):  # before other sections use memory
            footprint.memory(FOOTPRINT, everything.servers, "at rest, after some pushes")
        if "watching" in only:
            with measuring(WATCHING, measured):
                watching.watching(WATCHING, everything.registries, rounds=sizes.rounds)
        if "requests" in only:
            with measuring(REQUESTS, measured):
                _requests(everything, sizes)
        if "transfer" in only:
            with measuring(TRANSFER, measured):
                _transfers(everything, sizes)
        if "journey" in only:
            with measuring(JOURNEY, measured):
                journey.journeys(JOURNEY, everything.servers, rounds=sizes.journeys)
        with measuring(FOOTPRINT, measured):
            footprint.memory(FOOTPRINT, everything.servers, "after all this")
            if "footprint" in only:
                footprint.starts(FOOTPRINT, _starts(everything), rounds=sizes.starts)
    return [each for each in _REPORT_ORDER if each in measured]


def _installed(variants: Sequence[Variant]) -> Sequence[Variant]:
    try:
        if variants:
            mlflow.environment()
    except BenchmarkError as error:
        print(f"Without MLflow: {error}", flush=True)
        FOOTPRINT.problems.append(f"There is no comparison with MLflow: {error}")
        return ()
    return variants


@contextmanager
def _running(folder: Path, variants: Sequence[Variant]) -> Iterator[Running]:
    with ExitStack() as stack:
        installed = stack.enter_context(installation(folder / "registry"))
        registries = [stack.enter_context(served(installed, workers=n)) for n in (1, 2)]
        registries[0].populate(versions=_LISTED_VERSIONS)
        document = registries[0].reader.send(registries[0].resolving).json()
        bare = stack.enter_context(floor(document, registries[0].resolving, folder))
        stores = installed.stores
        if variants:
            stores = stack.enter_context(_stores(folder / "mlflow"))
        mlflows: list[Mlflow] = []
        for variant in variants:
            print(f"Starting {variant.name}.", flush=True)
            own = folder / variant.name.replace(" ", "-").replace(",", "")
            system = stack.enter_context(mlflow.served(stores, variant, own))
            first = mlflows[0].client if mlflows else None
            system.populate(versions=_LISTED_VERSIONS, through=first)
            mlflows.append(system)
        raw = transfer.RawStore(installed.stores.s3)
        yield Running(installed, registries, stores, mlflows, bare, raw, folder)


@contextmanager
def _stores(folder: Path) -> Iterator[Stores]:
    folder.mkdir()
    folder.chmod(0o711)  # PostgreSQL's unprivileged user must be able to enter
    with running_stores(folder) as stores:
        yield stores


def _requests(everything: Running, sizes: Sizes) -> None:
    servers = everything.servers
    measure = requests.Measure(REQUESTS, sizes.rounds, sizes.seconds)
    authless = [each for each in servers if not (isinstance(each, Mlflow) and each.variant.auth)]
    for connections in sizes.connections:
        chosen = servers if connections <= _MOST_WITH_AUTH else authless
        measure.resolve([*chosen, everything.floor], connections)
    for connections in sizes.connections[:2]:
        measure.pages(servers, connections)


def _transfers(everything: Running, sizes: Sizes) -> None:
    """Measure one server each: more workers do not transfer one file faster."""
    without_trap = [each for each in everything.mlflows if each.name == "MLflow, no trap"]
    transfer.transfers(
        TRANSFER,
        [everything.raw, everything.registries[0], *without_trap],
        sizes_mb=sizes.transfers_mb,
        rounds=sizes.transfer_rounds,
    )


def _starts(
    everything: Running,
) -> dict[str, Callable[[], AbstractContextManager[footprint.Serves]]]:
    again: dict[str, Callable[[], AbstractContextManager[footprint.Serves]]] = {
        each.name: partial(served, everything.installed, workers=workers)
        for each, workers in zip(everything.registries, (1, 2), strict=True)
    }
    for each in everything.mlflows:
        if not each.variant.trap:  # the trap does not affect start-up
            own = everything.folder / f"again-{each.variant.auth}"
            again[each.name] = partial(mlflow.served, everything.mlflow_stores, each.variant, own)
    return again
