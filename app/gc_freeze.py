"""Making what stays for the process's whole life, without looking for garbage among it."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def frozen_gc() -> Iterator[None]:
    """Let Python's cyclic collector neither run in this block nor ever visit what it leaves.

    Modules, tables, routes and schemas are hundreds of thousands of objects that live as long as
    the process. Looking for garbage among them while they are made takes a fifth of a start;
    afterwards it would make each full collection, and the end of the process, take half a second.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
