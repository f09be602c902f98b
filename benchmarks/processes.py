"""Server processes: start, readiness, memory and CPU time, and a stop however the run ends."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.driver import BenchmarkError, Client

MIB: Final = 1 << 20

_POLL_S: Final = 0.02
_STOP_S: Final = 20
_LOG_LINES: Final = 15
# Installed modules are compiled once, not at each start.
_AS_INSTALLED: Final = {"PYTHONDONTWRITEBYTECODE": ""}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `ready_s` is the time from its start to its first response."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    ready_s: float

    def tree(self) -> list[int]:
        """Return the pids of the server and of all its descendants."""
        found = [self.process.pid]
        for pid in found:
            found += _children(pid)
        return found

    def memory_mib(self) -> dict[str, float]:
        """Return the memory of all its processes, resident and proportional."""
        parts = [_rollup(pid) for pid in self.tree()]
        return {
            "rss_mib": sum(part.get("Rss", 0) for part in parts) / 1024,
            "pss_mib": sum(part.get("Pss", 0) for part in parts) / 1024,
            "processes": len(parts),
        }


@contextmanager
def running(
    command: Sequence[str],
    *,
    url: str,
    path: str,
    log: Path,
    environment: Mapping[str, str],
    timeout_s: float = 180,
) -> Iterator[Server]:
    """Run a server from its first success at `path` to the end of the block."""
    start = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - a fixed command
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **_AS_INSTALLED, **environment},
            cwd=log.parent,
            start_new_session=True,  # so that the whole group can be stopped
        )
    try:
        while not _responds(url, path):
            if process.poll() is not None or time.perf_counter() - start > timeout_s:
                raise BenchmarkError(f"{command[0]} did not become ready. {_end(log)}")
            time.sleep(_POLL_S)
        yield Server(url, process, log, time.perf_counter() - start)
    finally:
        _stop(process)


def free_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def reset_peak(pids: Sequence[int]) -> None:
    """Reset the peak memory of each process (proc(5), clear_refs)."""
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_mib(pids: Sequence[int]) -> float:
    """Return the sum of the processes' peak resident memory since `reset_peak`."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def cpu_s(pids: Sequence[int]) -> float:
    """Return the CPU time of the processes so far, which other load does not change."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime, proc(5)
    return ticks / os.sysconf("SC_CLK_TCK")


def _responds(url: str, path: str) -> bool:
    client = Client(url)
    try:
        client.send(client.request("GET", path))
    except (OSError, BenchmarkError):
        return False
    finally:
        client.close()
    return True


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(each) for task in tasks for each in (task / "children").read_text().split()]
    except OSError:
        return []  # the process has ended


def _rollup(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {name.rstrip(":"): int(kib) for name, kib, *_ in map(str.split, lines)}


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    try:
        os.killpg(process.pid, signal.SIGKILL)  # workers that are still running
    except ProcessLookupError:
        return


def _end(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    return "\n".join(["The end of its log:", *lines])
