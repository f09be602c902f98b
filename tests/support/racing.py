"""Concurrent calls, each in a separate thread."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier


def at_once(*calls):
    """Start all `calls` at the same time; return their results in order."""
    ready = Barrier(len(calls))

    def run(call):
        ready.wait(timeout=10)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def by_as_many_clients(world, calls):
    """Run `calls` at the same time; each takes a copy of the world with a separate client."""
    worlds = [(world.on_its_own_client(), call) for call in calls]
    return at_once(*(lambda each=each, call=call: call(each) for each, call in worlds))


def run_in_thread(coroutine):
    """Run a coroutine in a new thread, as Playwright's event loop may be running in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
