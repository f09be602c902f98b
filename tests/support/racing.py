"""Runs calls at the same moment, each in a thread of its own."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier


def at_once(*calls):
    """Start all of `calls` together; return what each returned, in their order."""
    ready = Barrier(len(calls))

    def run(call):
        ready.wait(timeout=10)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def by_as_many_clients(world, calls):
    """Run `calls`, each a function of a world, at once and each on a client of its own."""
    worlds = [(world.on_its_own_client(), call) for call in calls]
    return at_once(*(lambda each=each, call=call: call(each) for each, call in worlds))
