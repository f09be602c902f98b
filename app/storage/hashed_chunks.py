"""Chunks of a file, which a thread reads and hashes while the chunk before is in use."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO


class HashedChunks:
    """The bytes of a range of a file in chunks, and SHA-256 over all of them.

    Iterate once and to the end; then `sha256` is complete. Two buffers take turns, so a chunk is
    valid until the next one is requested.
    """

    def __init__(self, file: BinaryIO, start: int, end: int, chunk_bytes: int) -> None:
        self._file, self._start = file, start
        self._left = end - start
        self._chunk_bytes = min(chunk_bytes, self._left)
        self._digest = hashlib.sha256()

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the chunks.

        Raises:
            EOFError: The file ends before the range does.
        """
        free, used = (memoryview(bytearray(self._chunk_bytes)) for _ in range(2))
        self._file.seek(self._start)
        # Reading and hashing take about as long as a scan, and both release the interpreter's lock.
        with ThreadPoolExecutor(1, "hashed-chunks") as thread:
            following = thread.submit(self._next, free)
            while chunk := following.result():
                free, used = used, free
                following = thread.submit(self._next, free)
                yield chunk

    @property
    def sha256(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"

    def _next(self, buffer: memoryview) -> memoryview:
        chunk = buffer[: self._left]
        _fill(chunk, self._file)
        self._digest.update(chunk)
        self._left -= len(chunk)
        return chunk


def _fill(chunk: memoryview, file: BinaryIO) -> None:
    filled = 0
    while filled < len(chunk):
        part = file.read(len(chunk) - filled)
        if not part:
            raise EOFError("The file ends before its tensor does.")
        chunk[filled : filled + len(part)] = part
        filled += len(part)
