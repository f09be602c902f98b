"""An in-memory object store for faults that a real one seldom has."""

from contextlib import contextmanager
from datetime import UTC, datetime

from app.domain.errors import UnavailableError
from app.storage.blobs import StoredBlob, missing


class MemoryBlobs:
    """Blobs in memory, unavailable while `is_away` is set.

    The store becomes unavailable after `puts_left` more objects; None means no limit.
    """

    def __init__(self, *, puts_left=None):
        self.objects = {}
        self.is_away = False
        self.puts_left = puts_left

    def put(self, content, *, digest, size_bytes, overwrite=False):
        if self.puts_left is not None:
            self.is_away = self.is_away or self.puts_left == 0
            self.puts_left -= 1
        self._answer()
        if overwrite:
            self.objects.pop(digest, None)
        self.objects.setdefault(digest, content.read(size_bytes))

    @contextmanager
    def open(self, digest):
        self._answer()
        if digest not in self.objects:
            raise missing(digest)
        yield iter([self.objects[digest]])

    def presigned_url(self, digest, *, file_name, lifetime_s):
        return f"memory:{digest}/{file_name}?for={lifetime_s}"

    def stored(self):
        self._answer()
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        yield from (StoredBlob(key, len(data), moment) for key, data in self.objects.items())

    def delete(self, digest):
        self._answer()
        self.objects.pop(digest, None)

    def check(self):
        self._answer()

    def _answer(self):
        if self.is_away:
            raise UnavailableError("The object store could not answer; try again shortly.")
