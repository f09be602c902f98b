"""Requests with an idempotency key: what they change is committed with what they are answered."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from app.db.commit_barrier import pop_invalidation_flag, wait_until_invalidated
from app.db.idempotency import claim_key, store_response, stored_response
from app.db.models import IdempotencyRecord
from app.db.session import Sessions, expect
from app.domain.errors import (
    AnswerNotKeptError,
    IdempotencyKeyReusedError,
    RequestInFlightError,
)
from app.domain.idempotency import StoredResponse, fingerprint
from app.domain.naming import Json


class AlreadyAnswered(Exception):  # noqa: N818 - nothing is wrong: the answer is known
    """The request was made before, and `answer` is what it was answered."""

    def __init__(self, answer: StoredResponse) -> None:
        super().__init__("this request was answered before")
        self.answer = answer


class IdempotentRequest:
    """One request with a key, until it is answered.

    Its first change claims the key, in a transaction that all its changes join; `settle` adds
    the answer to it and commits. So a crash leaves all of them or nothing, and a request that
    comes while another holds the key is told so.
    """

    def __init__(self, sessions: Sessions, key: str, request: tuple[str, str, str]) -> None:
        self._sessions_outside = sessions
        self._key = key
        self._request = request
        self._body: Json = None
        self._caller: tuple[UUID, datetime] | None = None
        self._connection: Connection | None = None
        self._changed = False
        self.sessions: Sessions = _RequestSessions(self, sessions)

    def made_by(self, principal_id: UUID, now: datetime) -> None:
        self._caller = principal_id, now

    def received(self, body: Json) -> None:
        """Take note of what stands for the whole body; two bodies with the same are the same.

        Raises:
            AnsweredBefore: A request with the key was answered.
            IdempotencyKeyReusedError: But it was another request.
            AnswerNotKeptError: But the answer holds a secret.
        """
        self._body = body
        with self._sessions_outside() as session:
            self._require_unanswered(session)

    def claim(self) -> None:
        """Take the key, unless this exchange has it.

        Raises:
            RequestInFlightError: Another request has it now.
            AnsweredBefore: A request with the key was answered.
            IdempotencyKeyReusedError: But it was another request.
            AnswerNotKeptError: But the answer holds a secret.
        """
        if self._connection is not None:
            return
        self._connection = self._sessions_outside.kw["bind"].connect()
        try:
            self._begin(self._connection)
        except BaseException:
            self.abandon()
            raise

    def _begin(self, connection: Connection) -> None:
        connection.begin()
        self.sessions.configure(bind=connection)
        # Not within a savepoint, with whose end the key would be given back.
        with self._sessions_outside(
            bind=connection, join_transaction_mode="rollback_only"
        ) as session:
            principal_id, _ = expect(self._caller)
            if not claim_key(session, principal_id, self._key):
                raise RequestInFlightError(
                    "A request with this Idempotency-Key is being worked on; "
                    "send it again shortly to get its answer."
                )
            self._require_unanswered(session)

    def note_change(self) -> None:
        self._changed = True

    def settle(self, answer: StoredResponse) -> None:
        """Commit what was changed and, unless it is to be evaluated anew, the answer with it."""
        if self._connection is None:
            return
        if not answer.is_kept(changed=self._changed):
            self.abandon()
            return
        with self.sessions.begin() as session:
            store_response(session, self._row(answer))
        has_changed, engine = pop_invalidation_flag(self._connection), self._connection.engine
        self._connection.commit()
        self._connection.close()
        if has_changed:
            wait_until_invalidated(engine)

    def abandon(self) -> None:
        """Undo what was changed; the key is free again."""
        if self._connection is not None:
            pop_invalidation_flag(self._connection)
            self._connection.close()
            self._connection = None
            self.sessions.configure(bind=self._sessions_outside.kw["bind"])

    def _require_unanswered(self, session: Session) -> None:
        principal_id, now = expect(self._caller)
        kept = stored_response(session, principal_id, self._key, now)
        if kept is None:
            return
        if kept.fingerprint != self._fingerprint():
            raise IdempotencyKeyReusedError(
                "This Idempotency-Key came with another request before; give each its own."
            )
        if kept.body is None:
            location = kept.headers.get("location")
            raise AnswerNotKeptError(
                f"The first request with this Idempotency-Key made {location}, and its answer held "
                "a secret, which is not stored. If you missed it, delete that and send the "
                "request with another key.",
                made=location,
            )
        raise AlreadyAnswered(StoredResponse(kept.status, kept.headers, kept.body))

    def _row(self, answer: StoredResponse) -> IdempotencyRecord:
        principal_id, now = expect(self._caller)
        return IdempotencyRecord(
            principal_id=principal_id,
            key=self._key,
            fingerprint=self._fingerprint(),
            status=answer.status,
            headers=dict(answer.headers),
            body=answer.body,
            answered_at=now,
        )

    def _fingerprint(self) -> str:
        return fingerprint(*self._request, self._body)


class _RequestSessions(Sessions):
    """Sessions of one exchange: once it has begun a change, all of them are in its transaction."""

    def __init__(self, request: IdempotentRequest, outside_transaction: Sessions) -> None:
        super().__init__(outside_transaction.reading, **outside_transaction.kw)
        self.class_ = outside_transaction.class_  # with what listens to it
        self.request = request
        self.apart = outside_transaction

    @contextmanager
    def begin(self) -> Iterator[Session]:
        self.request.claim()
        with super().begin() as session:
            yield session
        self.request.note_change()


def outside_transaction(sessions: Sessions) -> Sessions:
    """Return sessions whose transactions are no part of an exchange's.

    For what others must see at once and what may be done twice.
    """
    return sessions.apart if isinstance(sessions, _RequestSessions) else sessions
