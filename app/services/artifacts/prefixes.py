"""Creating prefixes."""

from collections.abc import Sequence

from sqlalchemy.exc import IntegrityError

from app.db.models import Prefix
from app.db.prefixes import prefix_spelled_like, prefix_visible_to
from app.db.principals import principal_named
from app.db.session import expect
from app.domain.audit.chain import Facts, subject_of
from app.domain.errors import AlreadyExistsError, UnknownReferenceError
from app.domain.identity.access import Role, role_in
from app.domain.naming import PrefixName
from app.services.transactions import Transactions


def create(
    transactions: Transactions,
    *,
    name: PrefixName,
    owner: str,
    description: str,
    intended_uses: Sequence[str],
) -> Prefix:
    """Create an empty prefix.

    Raises:
        ForbiddenError: The caller is not a publisher in the namespace.
        UnknownReferenceError: No principal has the name `owner`.
        AlreadyExistsError: A prefix with this name, or one that differs by case only, exists.
    """
    needs, subject = role_in(Role.PUBLISHER, name.namespace), subject_of(name)
    with transactions.begin("prefix.create", needs, subject=subject) as transaction:
        session, caller = transaction.session, transaction.caller
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
                created_at=transaction.now,
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
        transaction.record("prefix.create", facts)
        return expect(prefix_visible_to(session, caller, name))
