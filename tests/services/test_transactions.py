"""Transactions: authority and time as of the effect, and no change without its entry."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, func, select, text, update

from app.db.models import (
    ApiToken,
    AuditEntry,
    FederatedIdentityRow,
    LoginAttempt,
    Principal,
    RoleGrant,
    WebSession,
)
from app.db.session import Sessions
from app.domain.audit.chain import REGISTRY
from app.domain.errors import ForbiddenError, UnauthenticatedError
from app.domain.idempotency import StoredResponse
from app.domain.identity.access import EVERYWHERE, Caller, Role, any_caller, role_in
from app.domain.identity.credentials import FederatedCredential
from app.services.idempotency import IdempotentRequest
from app.services.identity import principals, tokens, web_sessions
from app.services.identity.authentication import authenticate
from app.services.transactions import (
    Transactions,
    UnrecordedChangeError,
    transactions_of_server,
)
from tests.support.observing import eventually

ADMIN = role_in(Role.ADMIN, EVERYWHERE)
LATE = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass
class Holder:
    """An admin of the whole registry, as callers with a credential of each kind."""

    name: str
    other_id: UUID
    token: Caller
    session: Caller
    identity: Caller
    identified_session: Caller


@pytest.fixture
def holder(world, sessions):
    name, secret = world.a_principal(None, ("admin", EVERYWHERE))
    held = authenticate(sessions, token=secret).caller
    with sessions.begin() as session:
        row = FederatedIdentityRow("https://ci.example", {"sub": name})
        row.principal_id = held.id
        session.add(row)
    identified = replace(held, credential=FederatedCredential(row.id, LATE))
    with sessions.begin() as session:
        opened = WebSession(None, row.id, uuid4().hex, "form", LATE, LATE, LATE, LATE)
        session.add(opened)
    _, other = world.a_principal()
    return Holder(
        name,
        authenticate(sessions, token=other).caller.id,
        token=held,
        session=web_sessions.sign_in(sessions, token=secret).caller,
        identity=identified,
        identified_session=replace(held, credential=web_session(opened.id)),
    )


def web_session(session_id):
    return web_sessions.SessionCredential(session_id)


def recorded(sessions):
    with sessions() as session:
        return session.scalar(select(func.count()).select_from(AuditEntry))


def change(transactions, *, needs=ADMIN):
    """Append an entry of no further meaning."""
    with transactions.begin("storage.collect", needs, subject=REGISTRY) as transaction:
        transaction.record("storage.collect", {"objects": 0})
    return transaction


def test_a_valid_credential_of_each_kind_may_change(holder, sessions):
    for caller in (holder.token, holder.session, holder.identity, holder.identified_session):
        assert change(Transactions(sessions, caller)).caller == caller


def tokens_of(holder, **values):
    return update(ApiToken).where(ApiToken.principal_id == holder.token.id).values(**values)


def identities_of(holder, **values):
    own = FederatedIdentityRow.principal_id == holder.token.id
    return update(FederatedIdentityRow).where(own).values(**values)


def sessions_of(holder, **values):
    opened = (holder.session.credential.session_id, holder.identified_session.credential.session_id)
    return update(WebSession).where(WebSession.id.in_(opened)).values(**values)


def deactivated(holder):
    return update(Principal).where(Principal.id == holder.token.id).values(deactivated_at=LATE)


def deleted_session(holder):
    return delete(WebSession).where(WebSession.id == holder.session.credential.session_id)


# How an authority ends, and the kind of credential whose changes must then be refused.
ENDS = {
    "token-revoked": ("token", lambda holder: tokens_of(holder, revoked_at=LATE)),
    "token-expired": ("token", lambda holder: tokens_of(holder, expires_at=func.now())),
    "token-of-another": ("token", lambda holder: tokens_of(holder, principal_id=holder.other_id)),
    "deactivated": ("token", deactivated),
    "session-deleted": ("session", deleted_session),
    "session-expired": ("session", lambda holder: sessions_of(holder, expires_at=func.now())),
    "token-of-session-revoked": ("session", lambda holder: tokens_of(holder, revoked_at=LATE)),
    "token-of-session-expired": (
        "session",
        lambda holder: tokens_of(holder, expires_at=func.now()),
    ),
    "identity-of-another": (
        "identity",
        lambda holder: identities_of(holder, principal_id=holder.other_id),
    ),
    "session-of-another": (
        "identified_session",
        lambda holder: identities_of(holder, principal_id=holder.other_id),
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_an_authority_that_ended_after_arrival_changes_nothing(holder, sessions, end):
    kind, ending = ENDS[end]
    transactions = Transactions(sessions, getattr(holder, kind))
    with sessions.begin() as session:
        session.execute(ending(holder))
    before = recorded(sessions)

    with pytest.raises(UnauthenticatedError, match="Nothing was changed"):
        change(transactions, needs=any_caller)
    assert recorded(sessions) == before


def test_a_token_of_an_issuer_ends_at_its_expiry(holder, sessions, time):
    expiry = time.now() + timedelta(minutes=5)
    credential = replace(holder.identity.credential, expires_at=expiry)
    transactions = Transactions(sessions, replace(holder.identity, credential=credential))
    time.stop_at(expiry - timedelta(minutes=1))  # a transaction takes some time
    change(transactions)
    time.stop_at(expiry)
    with pytest.raises(UnauthenticatedError):
        change(transactions)


def test_a_role_that_was_lost_after_arrival_no_longer_counts(holder, sessions):
    transactions = Transactions(sessions, holder.token)
    with sessions.begin() as session:
        session.execute(delete(RoleGrant).where(RoleGrant.principal_id == holder.token.id))
    with pytest.raises(ForbiddenError, match="needs the role admin"):
        change(transactions)


def test_a_credential_that_expires_before_the_end_changes_nothing(holder, sessions, monkeypatch):
    transactions, before = Transactions(sessions, holder.token), recorded(sessions)
    days = [0.0, 40 * 24 * 3600.0]
    monkeypatch.setattr("app.services.transactions.elapsed", lambda: days.pop(0))
    with pytest.raises(UnauthenticatedError):
        change(transactions)
    assert recorded(sessions) == before


def waits(sessions):
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with sessions() as session:
        return session.scalar(waiting) > 0


@pytest.mark.parametrize("by", ["revocation", "deactivation", "grants"])
def test_taking_an_authority_away_waits_for_changes_under_way(holder, sessions, world, by):
    server = transactions_of_server(sessions)
    takes = {
        "revocation": lambda: tokens.revoke_token(
            server, token_id=holder.token.credential.token_id
        ),
        "deactivation": lambda: principals.deactivate(server, name=holder.name),
        "grants": lambda: principals.set_grants(server, name=holder.name, grants=[]),
    }
    transactions = Transactions(sessions, holder.token)
    subject = f"prefix:{world.namespace}/voice"
    with ThreadPoolExecutor(1) as thread:
        with transactions.begin("prefix.create", ADMIN, subject=subject) as transaction:
            taking = thread.submit(takes[by])
            eventually(lambda: waits(sessions))
            transaction.record("prefix.create", {})
        taking.result(timeout=10)
    last = [world.last_entry("registry"), world.last_entry(subject)]
    assert last[1]["principal"] == holder.name
    assert last[1]["at"] < last[0]["at"]


def test_taking_an_authority_away_waits_for_the_end_of_an_idempotent_request(
    holder, sessions, world
):
    """Its change is only committed together with its response."""
    request = IdempotentRequest(sessions, str(uuid4()), ("POST", "/v1/prefixes", ""))
    request.set_caller(holder.token.id, datetime.now(UTC))  # noqa: TID251 - the request's arrival
    subject = f"prefix:{world.namespace}/voice"
    with Transactions(sessions, holder.token, request).begin(
        "prefix.create", ADMIN, subject=subject
    ) as transaction:
        transaction.record("prefix.create", {})
    server = transactions_of_server(sessions)
    with ThreadPoolExecutor(1) as thread:
        taking = thread.submit(principals.deactivate, server, name=holder.name)
        eventually(lambda: waits(sessions))
        request.finish(StoredResponse(201, {}, b""))
        taking.result(timeout=10)
    entries = [world.last_entry(subject), world.last_entry("registry")]
    assert [entry["action"] for entry in entries] == ["prefix.create", "principal.deactivate"]


def test_the_changes_of_an_idempotent_request_share_its_transaction(holder, sessions, world):
    request = IdempotentRequest(sessions, str(uuid4()), ("POST", "/v1/prefixes", ""))
    request.set_caller(holder.token.id, datetime.now(UTC))  # noqa: TID251 - the request's arrival
    transactions = Transactions(sessions, holder.token, request)
    subjects = [f"prefix:{world.namespace}/{name}" for name in ("first", "second")]
    for subject in subjects:
        with transactions.begin("prefix.create", ADMIN, subject=subject) as transaction:
            transaction.record("prefix.create", {})
    assert [world.audit(subject) for subject in subjects] == [[], []]

    request.finish(StoredResponse(201, {}, b""))

    assert [len(world.audit(subject)) for subject in subjects] == [1, 1]


def test_signing_out_waits_for_changes_of_the_session(holder, sessions, world):
    visit = web_sessions.PageVisit(holder.session, holder.session.credential.session_id, "form")
    subject = f"prefix:{world.namespace}/voice"
    with ThreadPoolExecutor(1) as thread:
        transactions = Transactions(sessions, holder.session)
        with transactions.begin("prefix.create", ADMIN, subject=subject) as transaction:
            out = thread.submit(web_sessions.sign_out, sessions, visit=visit)
            eventually(lambda: waits(sessions))
            transaction.record("prefix.create", {})
        out.result(timeout=10)
    assert world.last_entry("registry")["action"] == "session.close"


def test_without_a_subject_the_authority_is_read_with_the_entry(holder, sessions):
    """So the transaction holds no principal while it has yet to wait for the chain."""
    server, before = transactions_of_server(sessions), recorded(sessions)

    def late():
        with Transactions(sessions, holder.token).begin("evaluation.record", ADMIN) as transaction:
            tokens.revoke_token(server, token_id=holder.token.credential.token_id)
            transaction.record("evaluation.record", {}, subject=REGISTRY)

    with pytest.raises(UnauthenticatedError):
        late()
    assert recorded(sessions) == before + 1  # the revocation


def test_rows_rules_and_entries_share_the_time_of_the_lock(sessions, world):
    server = transactions_of_server(sessions)
    subject = f"prefix:{world.namespace}/voice"
    with server.begin("prefix.create", any_caller, subject=subject) as transaction:
        now = transaction.now
        transaction.record("prefix.create", {})
        transaction.record("version.push", {})
    assert [entry["at"] for entry in world.audit(subject)] == [now.isoformat()[:-6] + "Z"] * 2


def test_an_entry_is_never_dated_before_the_one_before(sessions, world, time):
    subject = f"prefix:{world.namespace}/voice"
    server, noon = transactions_of_server(sessions), datetime(2090, 1, 1, 12, tzinfo=UTC)
    for moment in (noon, noon - timedelta(hours=1)):
        time.stop_at(moment)
        with server.begin("prefix.create", any_caller, subject=subject) as transaction:
            assert transaction.now == moment
            transaction.record("prefix.create", {})
    with sessions() as session:
        entries = session.scalars(select(AuditEntry).where(AuditEntry.subject == subject)).all()
    assert [entry.at for entry in entries] == [noon, noon]


def an_attempt():
    return LoginAttempt(uuid4().hex, "browser", "https://ci.example", "/admin/", LATE)


def is_stored(sessions, attempt):
    with sessions() as session:
        return session.get(LoginAttempt, attempt.state_hash) is not None


def test_a_change_without_an_entry_is_a_fault_and_is_rolled_back(sessions):
    attempt, server = an_attempt(), transactions_of_server(sessions)

    def forgetful():
        with server.begin("login.begin", any_caller) as transaction:
            transaction.session.add(attempt)

    with pytest.raises(UnrecordedChangeError, match=r"login\.begin"):
        forgetful()
    assert not is_stored(sessions, attempt)


def test_statements_without_an_entry_have_no_effect(sessions, holder):
    with transactions_of_server(sessions).begin("token.revoke", any_caller) as transaction:
        transaction.session.execute(update(ApiToken).values(revoked_at=LATE))
    change(Transactions(sessions, holder.token))


def test_an_unaudited_change_needs_no_entry(sessions):
    attempt = an_attempt()
    with transactions_of_server(sessions).begin_unaudited("login.begin", any_caller) as changed:
        changed.session.add(attempt)
    assert is_stored(sessions, attempt)


def test_what_a_transaction_without_effect_read_stays_readable(sessions):
    with transactions_of_server(sessions).begin("token.revoke", any_caller) as transaction:
        row = transaction.session.scalars(select(Principal).limit(1)).one()
    assert row.name


class UnexpectedError(Exception):
    pass


def test_only_a_committed_change_waits_for_caches(sessions, monkeypatch):
    waited = []
    monkeypatch.setattr(Sessions, "wait_until_invalidated", lambda _: waited.append("all"))
    server = transactions_of_server(sessions)

    def failing():
        with server.begin("storage.collect", any_caller, subject=REGISTRY) as transaction:
            transaction.record("storage.collect", {})
            raise UnexpectedError

    with pytest.raises(UnexpectedError):
        failing()
    assert waited == []
    change(server)
    assert waited == ["all"]
