"""Idempotent requests: the changes and the stored response are committed together."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from app.db.idempotency import claim_key, store_response, stored_response
from app.db.models import IdempotencyRecord
from app.db.session import Sessions, expect
from app.db.worker_leases import wait_until_invalidated
from app.domain.errors import (
    AnswerNotKeptError,
    IdempotencyKeyReusedError,
    RequestInFlightError,
)
from app.domain.idempotency import StoredResponse, fingerprint
from app.domain.naming import Json


class StoredResponseFound(Exception):  # noqa: N818 - not an error: the response is stored
    """The request is a retry, and `response` is the stored response of the first one."""

    def __init__(self, response: StoredResponse) -> None:
        super().__init__("the response to this request is stored")
        self.response = response


class IdempotentRequest:
    """One request with an idempotency key, until its response is stored.

    The first change claims the key, in a transaction that all further changes join. `finish`
    adds the response to that transaction and commits it. A crash therefore leaves either all of
    the changes or none, and a second request with the same key is refused while the first runs.
    """

    def __init__(self, sessions: Sessions, key: str, request: tuple[str, str, str]) -> None:
        self._outside = sessions
        self._key = key
        self._request = request
        self._body: Json = None
        self._caller: tuple[UUID, datetime] | None = None
        self._connection: Connection | None = None
        self._changed = False
        self._invalidates = False
        self.sessions: Sessions = sessions.copy()

    def set_caller(self, principal_id: UUID, now: datetime) -> None:
        self._caller = principal_id, now

    def check_body(self, body: Json) -> None:
        """Store the body, or a value that stands for it; requests with equal bodies are identical.

        Raises:
            StoredResponseFound: The response to an identical request with this key is stored.
            IdempotencyKeyReusedError: The key belongs to a different request.
            AnswerNotKeptError: The first response held a secret and was not stored.
        """
        self._body = body
        with self._outside() as session:
            self._check_stored_response(session)

    def has_stored_response(self) -> bool:
        """Whether the response to a request with this key is stored; `check_body` compares them."""
        principal_id, now = expect(self._caller)
        with self._outside() as session:
            return stored_response(session, principal_id, self._key, now) is not None

    @property
    def has_claimed(self) -> bool:
        """Whether this request has begun to change something, and may hold locks."""
        return self._connection is not None

    def claim(self) -> None:
        """Claim the key, unless this request already holds it.

        Raises:
            RequestInFlightError: Another request holds the key now.
            StoredResponseFound: The response to an identical request with this key is stored.
            IdempotencyKeyReusedError: The key belongs to a different request.
            AnswerNotKeptError: The first response held a secret and was not stored.
        """
        if self._connection is not None:
            return
        self._connection = self._outside.kw["bind"].connect()
        try:
            self._begin(self._connection)
        except BaseException:
            self.abandon()
            raise

    def _begin(self, connection: Connection) -> None:
        connection.begin()
        self.sessions.configure(bind=connection)
        # Not within a savepoint: the key would be released when the savepoint ends.
        with self._outside(bind=connection, join_transaction_mode="rollback_only") as session:
            principal_id, _ = expect(self._caller)
            if not claim_key(session, principal_id, self._key):
                raise RequestInFlightError(
                    "Another request with this Idempotency-Key is in progress; "
                    "retry shortly to get its response."
                )
            self._check_stored_response(session)

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """Open a savepoint in this request's transaction; claim the key first if need be."""
        self.claim()
        with self.sessions.begin() as session:
            yield session

    def note_change(self, *, invalidates: bool) -> None:
        """Note that a savepoint was released, and whether its change invalidates caches."""
        self._changed = True
        self._invalidates |= invalidates

    def finish(self, answer: StoredResponse) -> None:
        """Commit the changes together with the response, or roll back if it is not to be stored."""
        if self._connection is None:
            return
        if not answer.is_stored(changed=self._changed):
            self.abandon()
            return
        with self.sessions.begin() as session:
            store_response(session, self._row(answer))
        engine = self._connection.engine
        self._connection.commit()
        self._connection.close()
        if self._invalidates:
            wait_until_invalidated(engine)

    def abandon(self) -> None:
        """Roll back the changes and release the key."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._changed = self._invalidates = False
            self.sessions.configure(bind=self._outside.kw["bind"])

    def _check_stored_response(self, session: Session) -> None:
        principal_id, now = expect(self._caller)
        stored = stored_response(session, principal_id, self._key, now)
        if stored is None:
            return
        if stored.fingerprint != self._fingerprint():
            raise IdempotencyKeyReusedError(
                "This Idempotency-Key was used for a different request; "
                "use a new key for each request."
            )
        if stored.body is None:
            location = stored.headers.get("location")
            raise AnswerNotKeptError(
                f"The first request with this Idempotency-Key created {location}. Its response "
                f"held a secret, which is not stored. If you did not receive it, delete {location} "
                "and send the request with a new key.",
                made=location,
            )
        raise StoredResponseFound(StoredResponse(stored.status, stored.headers, stored.body))

    def _row(self, answer: StoredResponse) -> IdempotencyRecord:
        principal_id, now = expect(self._caller)
        return IdempotencyRecord(
            principal_id=principal_id,
            key=self._key,
            fingerprint=self._fingerprint(),
            status=answer.status,
            headers=dict(answer.headers),
            body=answer.body,
            recorded_at=now,
        )

    def _fingerprint(self) -> str:
        return fingerprint(*self._request, self._body)
