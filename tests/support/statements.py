"""The statements that a block sends to the database."""

from contextlib import contextmanager

from sqlalchemy import event


@contextmanager
def asked_of(engine):
    """Collect statements with their parameters."""
    sent = []

    def note(_connection, _cursor, statement, parameters, *_rest):
        sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)
