"""Binding identities at issuers to principals: the refusals, and the entry on the audit log."""

import uuid
from datetime import timedelta

import pytest

from app.domain.errors import AlreadyExistsError, InvalidRequestError, UnknownReferenceError
from app.domain.identity.access import PrincipalKind
from app.domain.identity.oidc import FederatedIdentity, Issuer
from app.oidc.issuers import Issuers
from app.services.identity.principals import create_principal, set_identities
from app.services.transactions import transactions_of_server

CI = "https://ci.example"
ISSUERS = Issuers(
    [
        Issuer(
            url=CI,
            audience="https://registry.example",
            kind=PrincipalKind.SERVICE,
            algorithms=frozenset({"RS256"}),
            jwks_url=f"{CI}/keys",
            max_age=timedelta(hours=1),
            leeway=timedelta(seconds=30),
        )
    ]
)


@pytest.fixture
def bound(sessions):
    """Make a principal and bind one identity to it; return its name."""

    def bound(kind=PrincipalKind.SERVICE, *, issuer=CI, subject=None):
        name = f"job-{uuid.uuid4().hex[:8]}"
        server = transactions_of_server(sessions)
        create_principal(server, name=name, kind=kind, grants=[])
        identity = FederatedIdentity(issuer, {"sub": subject or name})
        set_identities(server, ISSUERS, name=name, identities=[identity])
        return name

    return bound


def test_binding_an_identity_is_one_entry(world, bound):
    name = bound()
    entry = world.last_entry("registry")
    assert entry["action"] == "identities.set"
    assert entry["facts"]["principal"] == name
    assert entry["facts"]["identities"] == [{"issuer": CI, "claims": {"sub": name}}]


def test_an_issuer_that_is_not_configured_is_refused(tokens, bound):
    with pytest.raises(UnknownReferenceError, match="https://other"):
        bound(issuer="https://other.example")


def test_an_issuer_of_services_speaks_for_no_person(tokens, bound):
    with pytest.raises(InvalidRequestError) as refused:
        bound(PrincipalKind.HUMAN)
    assert [fault.code for fault in refused.value.faults] == ["identity-kind"]


def test_a_principal_keeps_an_identity_that_is_set_again(tokens, sessions, bound):
    name = bound()
    identity = FederatedIdentity(CI, {"sub": name})
    server = transactions_of_server(sessions)
    principal = set_identities(server, ISSUERS, name=name, identities=[identity])
    assert [dict(row.claims) for row in principal.identities] == [{"sub": name}]


def test_an_identity_has_one_principal(tokens, bound):
    holder = bound()
    with pytest.raises(AlreadyExistsError, match=holder):
        bound(subject=holder)
