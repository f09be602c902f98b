"""Transactions: the only way to change the registry, opened with a caller and a purpose.

docs/concepts/transactions.md says what a transaction guarantees.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timedelta

from sqlalchemy import event
from sqlalchemy.orm import Session

from app.db import audit
from app.db.authority import Authority, lock_authority
from app.db.clock import elapsed, time_in
from app.db.models import AuditChain
from app.db.session import Sessions, expect
from app.domain.audit.chain import Event, Facts, require_bounded
from app.domain.delivery.cache_lease import requires_invalidation
from app.domain.errors import UnauthenticatedError
from app.domain.identity.access import SYSTEM, Caller, Requirement
from app.domain.identity.credentials import ServerCredential
from app.services.idempotency import IdempotentRequest
from app.services.turns import Turns


class UnrecordedChangeError(Exception):
    """A use case changed rows without an audit entry; its transaction was rolled back."""


class Transaction:
    """One change of the registry, with its caller and its time.

    `caller` is as the database knows it now, not as it was when the request arrived. `now` is the
    time of the whole transaction: rows, rules and audit entries agree on it.
    """

    def __init__(self, session: Session, caller: Caller, needs: Requirement) -> None:
        self.session = session
        self.caller = caller
        self._needs = needs
        self.subject: str | None = None
        self.has_entry = False
        self.has_written = False
        self.invalidates = False
        self._chains: dict[str, tuple[AuditChain, datetime]] = {}
        self._authority: Authority | None = None
        self._begun = 0.0
        self._now: datetime | None = None
        event.listen(session, "after_flush", self._note_flush)

    @property
    def now(self) -> datetime:
        """The registry's time, as of the lock on the subject's chain."""
        if self._now is None:
            self._now = time_in(self.session)
        return self._now

    def record(self, action: str, facts: Facts, *, subject: str | None = None) -> None:
        """Append an audit entry to the chain of the transaction's subject, or of another one.

        Raises:
            TooLargeError: The facts are larger than an entry may be.
        """
        require_bounded(facts)
        about = expect(subject or self.subject)
        chain, locked_at = self._chain(about)
        at, caller = max(locked_at, chain.latest_at), self.caller
        event = Event(about, at, caller.name, caller.id, action, facts)
        audit.append(self.session, chain, event)
        self.has_entry = True
        self.invalidates |= requires_invalidation(action)

    def begin_on(self, subject: str) -> None:
        """Lock the chain of the subject, then read the caller's authority again and require it.

        In this order, a transaction that waits for another one waits without holding a lock on a
        principal.
        """
        self.subject = subject
        chain = audit.lock_chain(self.session, subject)
        self.require_authority()
        self._chains[subject] = chain, self.now

    def require_authority(self) -> None:
        """Read the caller's authority again, and keep it until the transaction ends.

        Raises:
            UnauthenticatedError: The caller's credential has ended.
            RegistryError: The caller no longer has the authority; `needs` says which error.
        """
        if self._authority is None and not isinstance(self.caller.credential, ServerCredential):
            self._authority = lock_authority(self.session, self.caller)
            if self._authority is None:
                raise _ended()
            self.caller, self._begun = self._authority.caller, elapsed()
            self._now = self._now or self._authority.read_at
        self._needs(self.caller)

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
        """Return the chain of a subject, locked until the transaction ends, and when it was.

        Without a subject from the start, the authority is read here, after the chain as always.
        """
        if subject not in self._chains:
            chain = audit.lock_chain(self.session, subject)
            self.require_authority()
            self._chains[subject] = chain, time_in(self.session)
        return self._chains[subject]

    def _require_unexpired(self) -> None:
        if self._authority is not None:
            lasted = timedelta(seconds=elapsed() - self._begun)
            if self._authority.read_at + lasted >= self._authority.expires_at:
                raise _ended()

    def _note_flush(self, *_: object) -> None:
        self.has_written = True


class Transactions:
    """Opens the transactions of one caller, within its idempotent request if there is one.

    With `turns`, the changes of one subject wait in line before they open a transaction.
    """

    def __init__(
        self,
        sessions: Sessions,
        caller: Caller,
        request: IdempotentRequest | None = None,
        turns: Turns | None = None,
    ) -> None:
        self.caller = caller
        self._outside = sessions
        self._request = request
        self._turns = turns

    @property
    def is_keyed(self) -> bool:
        """Whether changes commit with the response of an idempotent request, not at once."""
        return self._request is not None

    def of_server(self) -> "Transactions":
        """Return transactions of the server itself, outside of this request."""
        return transactions_of_server(self._outside)

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
                Without it, the chain is locked and the authority is read when the entry is made.
            apart: Commit independently of an idempotent request: use it for a fact that stays
                true if the request fails, such as the repair of an object.

        Raises:
            UnauthenticatedError: The caller's credential has ended.
            RegistryError: The caller lacks the authority; `needs` says which error.
            UnavailableError: Too many changes of the subject are under way.
        """
        needs(self.caller)  # as it arrived: a refusal costs no turn and no transaction
        with self._opened(purpose, needs, subject=subject, apart=apart) as transaction:
            if subject is not None:
                transaction.begin_on(subject)
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
        with self._opened(purpose, needs, audited=False, apart=apart) as transaction:
            transaction.require_authority()
            yield transaction

    def _turn(self, subject: str | None) -> AbstractContextManager[None]:
        """Return the turn of a change; a request that holds a chain already must not wait."""
        holds_chain = self._request is not None and self._request.has_claimed
        if subject is None or self._turns is None or holds_chain:
            return nullcontext()
        return self._turns.turn(subject)

    @contextmanager
    def _opened(
        self,
        purpose: str,
        needs: Requirement,
        *,
        subject: str | None = None,
        audited: bool = True,
        apart: bool = False,
    ) -> Iterator[Transaction]:
        """Commit at the end, or join the idempotent request, which commits with its response."""
        request = None if apart else self._request
        begun = self._outside.begin if request is None else request.begin
        with self._turn(subject), begun() as session:
            transaction = Transaction(session, self.caller, needs)
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
