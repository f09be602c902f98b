"""Creating prefixes."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from app.db import audit
from app.db.models import Prefix
from app.db.prefixes import prefix_spelled_like, prefix_visible_to
from app.db.principals import principal_named
from app.db.session import Sessions, expect
from app.domain.audit.chain import Facts, audit_event, subject_of
from app.domain.errors import AlreadyExistsError, UnknownReferenceError
from app.domain.identity.access import Caller, Role
from app.domain.naming import PrefixName


def create(
    sessions: Sessions,
    *,
    name: PrefixName,
    owner: str,
    description: str,
    intended_uses: Sequence[str],
    caller: Caller,
    now: datetime,
) -> Prefix:
    """Create an empty prefix.

    Raises:
        ForbiddenError: The caller is not a publisher in the namespace.
        UnknownReferenceError: No principal has the name `owner`.
        AlreadyExistsError: A prefix with this name, or one that differs by case only, exists.
    """
    caller.require_in(Role.PUBLISHER, name.namespace)
    with sessions.begin() as session:
        audit.lock_chain(session, subject_of(name))
        # Do not lock the prefix: a push locks the prefix first and then the chain.
        if (known := prefix_spelled_like(session, name)) is not None:
            raise AlreadyExistsError(
                f"The prefix {known.full_name} already exists; push versions to it."
            )
        accountable = principal_named(session, owner)
        if accountable is None:
            raise UnknownReferenceError(f"The owner {owner} of {name} is not a known principal.")
        session.add(
            Prefix(
                namespace=name.namespace,
                name=name.name,
                owner_id=accountable.id,
                description=description,
                intended_uses=list(intended_uses),
                created_at=now,
                created_by_id=caller.id,
            )
        )
        try:
            session.flush()
        except IntegrityError as error:
            # The lock is on the chain of this spelling alone.
            message = f"Another spelling of the prefix {name} was created at this moment; use that."
            raise AlreadyExistsError(message) from error
        facts: Facts = {"owner": owner, "owner_id": str(accountable.id)}
        event = audit_event(subject_of(name), "prefix.create", facts, caller=caller, now=now)
        audit.append(session, event)
        return expect(prefix_visible_to(session, caller, name))
