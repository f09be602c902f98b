"""What is sent to the database, as tests look at it."""

from contextlib import contextmanager

from sqlalchemy import event


@contextmanager
def asked_of(engine):
    """Collect statements with their parameters."""
    asked = []

    def note(_connection, _cursor, statement, parameters, *_rest):
        asked.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)
