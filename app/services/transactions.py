"""Transactions: the only way to change the registry, opened with a caller and a purpose.

docs/concepts/transactions.md says what a transaction guarantees.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cached_property

from sqlalchemy import event
from sqlalchemy.orm import Session

from app.db import audit
from app.db.authority import Authority, lock_authority
from app.db.clock import elapsed, time_in
from app.db.models import AuditChain
from app.db.session import Sessions, expect
from app.domain.audit.chain import Event, Facts
from app.domain.delivery.cache_lease import requires_invalidation
from app.domain.errors import UnauthenticatedError
from app.domain.identity.access import SYSTEM, Caller, Requirement
from app.domain.identity.credentials import ServerCredential
from app.services.idempotency import IdempotentRequest


class UnrecordedChangeError(Exception):
    """A use case changed rows without an audit entry; its transaction was rolled back."""


class Transaction:
    """One change of the registry, with its caller and its time.

    `caller` is as the database knows it now, not as it was when the request arrived. `now` is the
    time of the whole transaction: rows, rules and audit entries agree on it.
    """

    def __init__(self, session: Session, caller: Caller) -> None:
        self.session = session
        self.caller = caller
        self.subject: str | None = None
        self.has_entry = False
        self.has_written = False
        self.invalidates = False
        self._chains: dict[str, tuple[AuditChain, datetime]] = {}
        self._authority: Authority | None = None
        self._begun = 0.0

    @cached_property
    def now(self) -> datetime:
        """The registry's time, as of the lock on the subject's chain."""
        return time_in(self.session)

    def record(self, action: str, facts: Facts, *, subject: str | None = None) -> None:
        """Append an audit entry to the chain of the transaction's subject, or of another one."""
        about = expect(subject or self.subject)
        chain, locked_at = self._chain(about)
        at, caller = max(locked_at, chain.latest_at), self.caller
        event = Event(about, at, caller.name, caller.id, action, facts)
        audit.append(self.session, chain, event)
        self.has_entry = True
        self.invalidates |= requires_invalidation(action)

    def begin_on(self, subject: str | None, needs: Requirement) -> None:
        """Lock the subject's chain, then read the caller's authority again and require it.

        In this order, a transaction that waits for another one waits without holding a lock on a
        principal.

        Raises:
            UnauthenticatedError: The caller's credential has ended.
            RegistryError: The caller no longer has the authority; `needs` says which error.
        """
        self.subject = subject
        locked = None if subject is None else audit.lock_chain(self.session, subject)
        if not isinstance(self.caller.credential, ServerCredential):
            self._read_authority()
        needs(self.caller)
        if subject is not None and locked is not None:
            self._chains[subject] = locked, self.now
        event.listen(self.session, "after_flush", self._note_flush)

    def end(self, purpose: str, *, audited: bool) -> bool:
        """Return whether to commit: a transaction that recorded nothing changes nothing.

        Raises:
            UnrecordedChangeError: It wrote rows, but no audit entry.
            UnauthenticatedError: The caller's credential expired in the course of it.
        """
        self.session.flush()
        self._require_unexpired()
        if audited and self.has_written and not self.has_entry:
            raise UnrecordedChangeError(f"{purpose} changed rows without an audit entry")
        return self.has_entry or not audited

    def _chain(self, subject: str) -> tuple[AuditChain, datetime]:
        """Return the chain of a subject, locked until the transaction ends, and when it was."""
        if subject not in self._chains:
            chain = audit.lock_chain(self.session, subject)
            self._chains[subject] = chain, time_in(self.session)
        return self._chains[subject]

    def _read_authority(self) -> None:
        authority = lock_authority(self.session, self.caller)
        if authority is None:
            raise _ended()
        self.caller, self._authority = authority.caller, authority
        self.now, self._begun = authority.read_at, elapsed()

    def _require_unexpired(self) -> None:
        if self._authority is not None:
            lasted = timedelta(seconds=elapsed() - self._begun)
            if self._authority.read_at + lasted >= self._authority.expires_at:
                raise _ended()

    def _note_flush(self, *_: object) -> None:
        self.has_written = True


class Transactions:
    """Opens the transactions of one caller, within its idempotent request if there is one."""

    def __init__(
        self, sessions: Sessions, caller: Caller, request: IdempotentRequest | None = None
    ) -> None:
        self.caller = caller
        self._outside = sessions
        self._request = request

    def read(self) -> Session:
        """Return a session that only reads, and sees the changes of this request."""
        return (self._outside if self._request is None else self._request.sessions)()

    @contextmanager
    def begin(
        self,
        purpose: str,
        needs: Requirement,
        *,
        subject: str | None = None,
        apart: bool = False,
    ) -> Iterator[Transaction]:
        """Open a transaction that must append an audit entry; without one, nothing is changed.

        Args:
            purpose: The use case, as the action of its main audit entry.
            needs: The authority that the caller must have, now and when the change takes effect.
            subject: The subject whose chain is locked first; its changes then happen one by one.
            apart: Commit independently of an idempotent request: use it for a fact that stays
                true if the request fails, such as the repair of an object.

        Raises:
            UnauthenticatedError: The caller's credential has ended.
            RegistryError: The caller lacks the authority; `needs` says which error.
        """
        needs(self.caller)
        with self._opened(purpose, audited=True, apart=apart) as transaction:
            transaction.begin_on(subject, needs)
            yield transaction

    @contextmanager
    def begin_unaudited(
        self, purpose: str, needs: Requirement, *, apart: bool = False
    ) -> Iterator[Transaction]:
        """Open a transaction whose changes are no events: announced uploads, uses, pins, sweeps.

        With `apart`, it commits independently of an idempotent request. Use that for changes that
        others must see at once and that may safely happen twice.

        Raises:
            UnauthenticatedError: The caller's credential has ended.
            RegistryError: The caller lacks the authority; `needs` says which error.
        """
        needs(self.caller)
        with self._opened(purpose, audited=False, apart=apart) as transaction:
            transaction.begin_on(None, needs)
            yield transaction

    @contextmanager
    def _opened(self, purpose: str, *, audited: bool, apart: bool) -> Iterator[Transaction]:
        """Commit at the end, or join the idempotent request, which commits with its response."""
        request = None if apart else self._request
        with self._outside.begin() if request is None else request.begin() as session:
            transaction = Transaction(session, self.caller)
            yield transaction
            if not transaction.end(purpose, audited=audited):
                session.expunge_all()  # what was read stays readable
                session.rollback()
                return
        # The connection is back in its pool: a change that waits holds none.
        if request is not None:
            request.note_change(invalidates=transaction.invalidates)
        elif transaction.invalidates:
            self._outside.wait_until_invalidated()


def transactions_of_server(sessions: Sessions) -> Transactions:
    """Return the transactions of the server's own work: its CLI and its background tasks."""
    return Transactions(sessions, SYSTEM)


def _ended() -> UnauthenticatedError:
    return UnauthenticatedError(
        "The credential of this request was revoked or expired before the change took effect, or "
        "its principal was deactivated. Nothing was changed."
    )
