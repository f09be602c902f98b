"""Disabling garbage collection for objects that live as long as the process."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def frozen_gc() -> Iterator[None]:
    """Disable Python's cyclic collector in this block, and exempt all its objects afterwards.

    Modules, tables, routes and schemas are hundreds of thousands of objects that live as long as
    the process. Collecting while they are created takes a fifth of the start-up time. Later, they
    would make each full collection, and the end of the process, half a second longer.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
