"""Two issuers, a registry with sign-in through them, and a user bound to a principal."""

import pytest

from app.main import app_of
from tests.oidc.issuing import issuing
from tests.oidc.test_issuers import bind
from tests.pages.login.travelling import Traveller, configure, signed_in_through
from tests.support.builders import World
from tests.support.session.in_process import InProcessClient


@pytest.fixture(scope="session")
def issuers():
    with issuing("people", "staff") as served:
        yield served


@pytest.fixture
def people(issuers):
    for issuer in issuers:
        issuer.recover()
    return issuers[0]


@pytest.fixture(scope="session")
def registry(parts, tokens):
    """A registry whose issuers each test configures."""
    app = app_of(parts)
    with InProcessClient(app, raise_server_exceptions=False) as client:
        yield World(client, tokens)


@pytest.fixture
def issuer_world(registry, people, issuers, parts):
    configure(registry, signed_in_through(people), signed_in_through(issuers[1], "staff"))
    return registry


@pytest.fixture
def traveller(issuer_world, people):
    """A user of the issuer whose claims are bound to an approver."""
    name, _ = issuer_world.a_principal(None, ("approver", issuer_world.namespace))
    subject = f"subject of {name}"
    assert bind(issuer_world, name, (people, {"sub": subject})).status_code == 200
    person = Traveller(issuer_world.client, people)
    person.name, person.subject = name, subject
    person.client.base_url = "http://testserver"
    return person
