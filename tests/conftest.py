"""Starts a test run: offers the stores, and loads the fixtures of all tests.

The process that distributes tests among others loads no fixtures: these import the application.
"""

import os
from contextlib import ExitStack

import pytest

from app.gc_freeze import frozen_gc
from tests.support.session.offering import is_offered, offered_stores

# Torch reads this on import. The matrices of the tests are tiny: on busy cores, two threads that
# wait for each other take ten times as long as one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

FIXTURES = (
    "tests.support.servers",
    "tests.support.session.served",
    "tests.support.session.fixtures",
)
# PEFT takes seconds to import.
USE_PEFT = {
    "tests/domain/artifacts/test_adapter_config.py",
    "tests/domain/artifacts/test_geometry.py",
    "tests/hub/test_push.py",
    "tests/storage/test_artifacts.py",
}
# The conftest of a folder that the command line names may import these first.
pytest.register_assert_rewrite(*FIXTURES)


def pytest_configure(config):
    if not is_offered():
        offer = ExitStack()
        config.add_cleanup(offer.close)
        offer.enter_context(offered_stores())


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session):
    """Import the fixtures, and the application with them, once coverage is being measured.

    A process of pytest-xdist starts to measure in this hook; what it imports before counts as
    never executed.
    """
    if not distributes(session.config):
        with frozen_gc():
            for name in FIXTURES:
                session.config.pluginmanager.import_plugin(name)


def pytest_xdist_make_scheduler(config, log):
    """Keep files together in one process if they share an expensive import."""
    from xdist.scheduler import LoadFileScheduling  # noqa: PLC0415 - only the first process needs it

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "files that use PEFT" if file in USE_PEFT else file

    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


def distributes(config):
    """Whether this is the process of pytest-xdist that runs no tests."""
    return bool(config.getoption("tx", None)) and not hasattr(config, "workerinput")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Import the tests without garbage collection, as the server does at its start."""
    with frozen_gc():
        return (yield)
