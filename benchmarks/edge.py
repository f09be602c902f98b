"""`python -m benchmarks.edge`: memory and latency of a server while its edge is attacked.

Ten attackers of each kind reconnect as soon as they are cut off, while four clients resolve. The
memory is the peak of the server's process, beyond its peak while only these clients resolve, which
is measured before each attack.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.server import stop_cleanly_on_signals
from benchmarks.artifacts import an_artifact
from benchmarks.attackers import ATTACKS, Target, attack
from benchmarks.processes import peak_mib, reset_peak
from benchmarks.registry import NAME, PATH, Registry, installation, served

MOST_MIB: Final = 64.0
MOST_TIMES: Final = 3.0

_ATTACKERS: Final = 10
_CONNECTIONS: Final = 4
_DOWNLOAD_MB: Final = 64.0
_BEGUN_S: Final = 2.0  # by then, all attackers are connected
_RELEASED_S: Final = 3.0  # by then, the server has closed their connections


@dataclass(frozen=True, slots=True)
class Measured:
    """The peak memory of the server, and the latency of resolves."""

    mib: float
    p99_ms: float


def main() -> None:
    """Print each kind of attack, and fail if one exceeds the bounds."""
    stop_cleanly_on_signals()  # also ends the started servers
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="registry-bench-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL's unprivileged user must be able to enter
        with installation(Path(folder, "edge")) as installed, served(installed) as registry:
            found = _compared(registry, arguments.seconds)
    if found:
        sys.exit("\n".join(found))


def _compared(registry: Registry, seconds: float) -> list[str]:
    """Measure each kind of attack; return those that exceed the bounds."""
    target = _target(registry)
    _measured(registry, seconds)  # warms up
    print(f"{'attack':24} {'more memory':>16} {'quiet p99':>12} {'p99':>12} {'times':>8}")
    exceeding = []
    for name, kinds in [*((each, [each]) for each in ATTACKS), ("all of them", list(ATTACKS))]:
        quiet = _measured(registry, seconds)  # each time, as other load on the machine varies
        with _attacked(target, kinds):
            found = _measured(registry, seconds)
        more, times = found.mib - quiet.mib, found.p99_ms / quiet.p99_ms
        line = (
            f"{name:24} {more:12.1f} MiB {quiet.p99_ms:9.1f} ms {found.p99_ms:9.1f} ms {times:8.1f}"
        )
        print(line, flush=True)
        if more > MOST_MIB or times > MOST_TIMES:
            exceeding.append(f"Above {MOST_MIB:g} MiB or {MOST_TIMES:g} times: {line}")
        time.sleep(_RELEASED_S)
    return exceeding


def _measured(registry: Registry, seconds: float) -> Measured:
    pids = registry.server.tree()
    reset_peak(pids)
    load = registry.reader.load(registry.resolving, connections=_CONNECTIONS, seconds=seconds)
    if load.failures:
        raise RuntimeError(f"{load.failures} resolves failed")
    return Measured(peak_mib(pids), load.quantile_ms(0.99))


@contextmanager
def _attacked(target: Target, kinds: Sequence[str]) -> Iterator[None]:
    """Attack from another process, whose work does not delay the measuring client."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=attack, args=(target, list(kinds), _ATTACKERS), daemon=True)
    process.start()
    try:
        time.sleep(_BEGUN_S)
        yield
    finally:
        process.kill()
        process.join()


def _target(registry: Registry) -> Target:
    """Fill the registry: a served version, a large one, and a principal without grants."""
    registry.populate(versions=1)
    large = registry.push(an_artifact(_DOWNLOAD_MB))
    admin = registry.by("admin")
    stranger: dict[str, Any] = {"name": "stranger", "kind": "service", "grants": []}
    admin.call("POST", "/v1/principals", json_body=stranger)
    token = admin.call("POST", "/v1/tokens", json_body={"principal": "stranger"})["token"]
    return Target(
        host=registry.reader.host,
        port=registry.reader.port,
        publisher=registry.tokens["publisher"],
        stranger=token,
        pushes=f"{PATH}/versions",
        download=f"{PATH}/versions/{large['number']}/files/adapter_model.safetensors",
        commits=f"/api/models/{NAME}/commit/main",
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.edge", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="per measurement")
    return parser.parse_args()


if __name__ == "__main__":
    main()
