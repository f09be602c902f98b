"""Background tasks of a server: probes, caches, due promotions, the log of pulls, and the store."""

import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from app.db.quotas import own_request_limits
from app.db.session import database_of
from app.domain.errors import UnavailableError
from app.http.deps import Parts
from app.http.limits import STATE_KEY
from app.http.shutdown import prepared_for_signals
from app.services.artifacts.periodic_collection import collect_if_due
from app.services.artifacts.revocations import withdraw_revoked
from app.services.delivery.cache_invalidation import Listener
from app.services.governance.due_promotions import process_due
from app.services.readiness import DatabaseProbe, probe_store
from app.services.transactions import transactions_of_server

_INTERVAL_S: Final = 2.0
_PROBE_INTERVAL_S: Final = 1.0
_STORE_PROBE_INTERVAL_S: Final = 3.0
_FIRST_PROBES_S: Final = 5.0
_COLLECT_ROUND_S: Final = 300.0
_log = logging.getLogger(__name__)


class BackgroundTasks:
    """A thread that runs the periodic tasks every two seconds until it is stopped."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its current task, and store the last pulls."""
        self._stopped.set()
        self._thread.join(timeout=10)
        _try(lambda: self._parts.pulls.flush(self._parts.sessions))

    def _run(self) -> None:
        while not self._stopped.wait(_INTERVAL_S):
            _try(lambda: self._parts.pulls.flush(self._parts.sessions))
            _try(self._read_quotas)
            _try(lambda: process_due(self._parts.sessions))
            _try(lambda: withdraw_revoked(transactions_of_server(self._parts.sessions)))

    def _read_quotas(self) -> None:
        with self._parts.sessions() as session:
            self._parts.in_flight.own_limits = own_request_limits(session)


class Probing:
    """A thread that runs one probe at intervals, apart from all work that may have to wait."""

    def __init__(self, name: str, probe: Callable[[], object], interval_s: float) -> None:
        self._probe = probe
        self._interval_s = interval_s
        self._stopped = threading.Event()
        self._first = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait_for_first(self, timeout_s: float) -> None:
        """Wait for the first result, so that a server knows its state once it serves."""
        self._first.wait(timeout_s)

    def stop(self) -> None:
        """End the thread after its current probe."""
        self._stopped.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopped.is_set():
            _try(self._probe)
            self._first.set()
            self._stopped.wait(self._interval_s)


class StoreTasks:
    """A thread that collects garbage when it is due.

    It is apart from the other tasks, because a store may hang.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread, unless it is collecting: a collection may be cut off at any time."""
        self._stopped.set()
        self._thread.join(timeout=1)

    def _run(self) -> None:
        interval = self._parts.collect_interval
        round_s = min(_COLLECT_ROUND_S, interval.total_seconds())
        while round_s and not self._stopped.wait(round_s):
            _try(self._collect)

    def _collect(self) -> None:
        parts = self._parts
        collect_if_due(parts.sessions, parts.blobs, parts.staging, interval=parts.collect_interval)


def _try(task: Callable[[], object]) -> None:
    """Run one task. Whatever fails is logged and retried in the next round.

    The threads must go on: without them no promotion would execute or expire any more.
    """
    try:
        task()
    except UnavailableError as error:
        _log.warning("the object store is not usable: %s", error.detail)
    except SQLAlchemyError as error:
        _log.warning("a background task failed and will be retried: %s", type(error).__name__)
    except Exception:  # noqa: BLE001 - logged with its traceback
        _log.exception("a background task failed and will be retried")


@asynccontextmanager
async def running_background_tasks(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Run the background tasks of `app` while it serves; yield its limits to the server."""
    parts: Parts = app.state.parts
    with _probing(parts) as probes:
        tasks, store_tasks = BackgroundTasks(parts), StoreTasks(parts)
        listener = Listener(database_of(parts.sessions), parts.cache.channel_cache)
        for probe in probes:
            await run_in_threadpool(probe.wait_for_first, _FIRST_PROBES_S)
        tasks.start()
        store_tasks.start()
        listener.start()
        # Closing the cache releases all waiters. The end of the lifespan would be too late: the
        # server lets all requests finish before it.
        with prepared_for_signals(parts.shutdown, before_end=parts.cache.close):
            yield {STATE_KEY: parts.connections}
        listener.stop()
        store_tasks.stop()
        tasks.stop()


@contextmanager
def _probing(parts: Parts) -> Iterator[list[Probing]]:
    """Probe the database and the store in the background."""
    database = DatabaseProbe(
        database_of(parts.sessions), parts.readiness.database, parts.breaker, parts.clock
    )
    probes = [
        Probing("database-probe", database.run, _PROBE_INTERVAL_S),
        Probing(
            "store-probe",
            lambda: probe_store(parts.blobs, parts.readiness.store),
            _STORE_PROBE_INTERVAL_S,
        ),
    ]
    for probe in probes:
        probe.start()
    yield probes
    for probe in probes:
        probe.stop()
    database.end()
