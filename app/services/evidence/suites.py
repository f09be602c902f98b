"""Registering suites."""

from app.db.evaluations import SUITE, suite_spelled_like, suite_versioned
from app.db.models import SuiteRow
from app.db.session import expect
from app.domain.audit.chain import REGISTRY, Facts
from app.domain.errors import AlreadyExistsError, InvalidSuiteError
from app.domain.evidence.suites import Suite, suite_faults
from app.domain.identity.access import EVERYWHERE, Role, role_in
from app.domain.naming import canonical_digest
from app.services.transactions import Transaction, Transactions


def register(transactions: Transactions, *, suite: Suite) -> tuple[SuiteRow, bool]:
    """Register an immutable suite version; also return whether it is new.

    Raises:
        ForbiddenError: The caller is not an admin of the whole registry.
        InvalidSuiteError: The suite contradicts itself; the error lists all faults.
        AlreadyExistsError: The version is registered with a different definition, or differs
            from a registered one by case only.
    """
    needs = role_in(Role.ADMIN, EVERYWHERE)
    needs(transactions.caller)
    if faults := suite_faults(suite):
        raise InvalidSuiteError(f"The suite {suite} is invalid; see faults.", faults)
    document = SUITE.dump_python(suite, mode="json")
    digest = canonical_digest(document)
    with transactions.begin("suite.register", needs, subject=REGISTRY) as transaction:
        session = transaction.session
        known = suite_spelled_like(session, suite.name, suite.version)
        if known is None:
            session.add(_row(suite, document, digest, transaction))
            facts: Facts = {"suite": suite.name, "version": suite.version, "digest": digest}
            transaction.record("suite.register", facts)
            return expect(suite_versioned(session, suite.name, suite.version)), True
    if known.version != suite.version:
        message = (
            f"The version {known.version} of the suite {known.name} exists; choose a version that "
            "differs not by case only."
        )
        raise AlreadyExistsError(message)
    if known.digest != digest:
        message = f"{suite} is registered with a different definition; register a new version."
        raise AlreadyExistsError(message)
    return known, False


def _row(
    suite: Suite, document: dict[str, object], digest: str, transaction: Transaction
) -> SuiteRow:
    return SuiteRow(
        name=suite.name,
        version=suite.version,
        document=document,
        digest=digest,
        created_at=transaction.now,
        created_by_id=transaction.caller.id,
    )
