"""The registry, MLflow, the framework's floor and the store alone, all running, side by side."""

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
    "One request again and again on kept connections; with MLflow's basic-auth from no more than "
    "16, as each of its requests takes half a second of CPU.",
    reference="MLflow, no trap",
)
TRANSFER: Final = Section(
    "transfer",
    "Push and pull",
    "Files made beforehand; a push to the registry is received, hashed, checked number by number "
    "and stored; S3 alone is hashed and stored with boto3.",
    reference=transfer.STORE,
)
JOURNEY: Final = Section(
    "journey",
    "Governing a version",
    "Release is request, gate, approval and execution here, and setting an alias in MLflow. The "
    "journey is push 10 MB, create the version, record 40 results, release, resolve, download.",
    reference="MLflow, no trap",
)
WATCHING: Final = Section(
    "watching",
    "A fleet that waits",
    f"{watching.WATCHERS} clients wait in a `GET /v1/resolve/…?wait=30`, each on a connection of "
    "its own, while a version is approved; times count from the moment the approval is sent. They "
    "should take 50 MiB, and 99 of 100 know 200 ms after the acknowledgement; below 0 is before.",
)
FOOTPRINT: Final = Section(
    "footprint",
    "Memory and start-up",
    "Of the server's own processes, without database and object store.",
    reference="MLflow, no trap",
)

_AS_TOLD: Final = (REQUESTS, TRANSFER, JOURNEY, WATCHING, FOOTPRINT)

# MLflow's basic-auth takes half a second of CPU for a request: more at once only wait in line.
_MOST_WITH_AUTH: Final = 16
_LISTED_VERSIONS: Final = 60  # more than fill a page


@dataclass(frozen=True, slots=True)
class Running:
    """Everything that is compared. `raw` is the store of the registries by itself."""

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
    """Start everything and fill the sections that are wanted."""
    measured: list[Section] = []
    with _running(folder, _installed(variants)) as everything:
        with measuring(FOOTPRINT, measured):  # before anything else fills the memory
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
    return [each for each in _AS_TOLD if each in measured]


def _installed(variants: Sequence[Variant]) -> Sequence[Variant]:
    try:
        if variants:
            mlflow.environment()
    except BenchmarkError as error:
        print(f"Without MLflow: {error}", flush=True)
        FOOTPRINT.problems.append(f"Nothing was compared with MLflow: {error}")
        return ()
    return variants


@contextmanager
def _running(folder: Path, variants: Sequence[Variant]) -> Iterator[Running]:
    with ExitStack() as stack:
        installed = stack.enter_context(installation(folder / "registry"))
        registries = [stack.enter_context(served(installed, workers=n)) for n in (1, 2)]
        registries[0].furnish(versions=_LISTED_VERSIONS)
        answer = registries[0].reader.send(registries[0].resolving).json()
        bare = stack.enter_context(floor(answer, registries[0].resolving, folder))
        stores = installed.stores
        if variants:
            stores = stack.enter_context(_stores(folder / "mlflow"))
        mlflows: list[Mlflow] = []
        for variant in variants:
            print(f"Starting {variant.name}.", flush=True)
            own = folder / variant.name.replace(" ", "-").replace(",", "")
            system = stack.enter_context(mlflow.served(stores, variant, own))
            first = mlflows[0].client if mlflows else None
            system.furnish(versions=_LISTED_VERSIONS, through=first)
            mlflows.append(system)
        raw = transfer.RawStore(installed.stores.s3)
        yield Running(installed, registries, stores, mlflows, bare, raw, folder)


@contextmanager
def _stores(folder: Path) -> Iterator[Stores]:
    folder.mkdir()
    folder.chmod(0o711)  # PostgreSQL's unprivileged user passes through
    with running_stores(folder) as stores:
        yield stores


def _requests(everything: Running, sizes: Sizes) -> None:
    servers = everything.servers
    measure = requests.Measure(REQUESTS, sizes.rounds, sizes.seconds)
    quick_ones = [each for each in servers if not (isinstance(each, Mlflow) and each.variant.auth)]
    for connections in sizes.connections:
        asked = servers if connections <= _MOST_WITH_AUTH else quick_ones
        measure.resolve([*asked, everything.floor], connections)
    for connections in sizes.connections[:2]:
        measure.pages(servers, connections)


def _transfers(everything: Running, sizes: Sizes) -> None:
    """With one server each: more workers do not make one file faster."""
    open_ones = [each for each in everything.mlflows if each.name == "MLflow, no trap"]
    transfer.transfers(
        TRANSFER,
        [everything.raw, everything.registries[0], *open_ones],
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
        if not each.variant.trap:  # which changes nothing here
            own = everything.folder / f"again-{each.variant.auth}"
            again[each.name] = partial(mlflow.served, everything.mlflow_stores, each.variant, own)
    return again
