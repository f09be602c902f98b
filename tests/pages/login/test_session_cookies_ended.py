"""Forms whose session ends between their arrival and their effect."""

import re

import pytest
from fastapi.routing import iter_route_contexts
from sqlalchemy import delete, func, select

from app.db.models import AuditEntry, WebSession
from app.services.transactions import Transactions
from tests.pages.login.test_session_cookies import Person
from tests.support.session.served import pages_in

REASON = "the fleet is down, and this mends it"
# The forms that change something, with their fields and the role that may send them.
FORMS = {
    "/prefixes/{namespace}/{name}/versions/{number}/gate/{channel}": (
        "publisher",
        {"reason": REASON},
    ),
    "/prefixes/{namespace}/{name}/versions/{number}/gate/{channel}/break-glass": (
        "admin",
        {"reason": REASON, "confirmation": "break glass"},
    ),
    "/prefixes/{namespace}/{name}/versions/{number}/revoke": (
        "approver-1",
        {"reason": REASON, "confirmation": "revoke 2"},
    ),
    "/promotions/{promotion_id}/reviews": ("approver-1", {"verdict": "approve"}),
    "/promotions/{promotion_id}/withdraw": ("publisher", {}),
    "/promotions/{promotion_id}/break-glass": (
        "admin",
        {"reason": REASON, "confirmation": "break glass"},
    ),
    "/sign-out": ("reader", {}),
}
WITHOUT_A_SESSION = {"/sign-in", "/sign-in/{issuer}"}


def test_every_form_of_the_pages_is_listed(app):
    served = {
        route.path
        for route in iter_route_contexts(pages_in(app).routes)
        if "POST" in (route.methods or ())
    }
    assert served == {*FORMS, *WITHOUT_A_SESSION}


@pytest.fixture
def address_of(world):
    """Return a function that fills the path of a form with names of a promotion that waits."""
    promotion = None

    def address_of(path):
        nonlocal promotion
        if promotion is None:
            world.a_live_version(seed=1)
            version = world.an_evaluated_version(seed=2)
            promotion = world.request(version).json() if "promotions" in path else {"id": ""}
        names = {
            "{namespace}": world.namespace,
            "{name}": "voice",
            "{number}": "2",
            "{channel}": "production",
            "{promotion_id}": promotion["id"],
        }
        filled = re.sub(r"{[a-z_]+}", lambda found: names[found[0]], path)
        return f"/admin{filled}"

    return address_of


@pytest.fixture
def ending(sessions, monkeypatch):
    """Return a function that ends all sessions just before the next transaction opens."""

    def ending():
        opened = Transactions._opened

        def after_the_end(*arguments, **options):
            monkeypatch.setattr(Transactions, "_opened", opened)
            with sessions.begin() as session:
                assert session.execute(delete(WebSession)).rowcount > 0
            return opened(*arguments, **options)

        monkeypatch.setattr(Transactions, "_opened", after_the_end)

    return ending


@pytest.mark.parametrize("form", FORMS)
def test_a_form_takes_no_effect_for_a_session_that_ended_on_the_way(
    world, tokens, sessions, address_of, ending, form
):
    by, fields = FORMS[form]
    path = address_of(form)
    person = Person(world.client, tokens[by])
    assert person.sign_in().status_code == 303
    token = person.form_token("/admin/")
    with sessions() as session:
        before = session.scalar(select(func.count()).select_from(AuditEntry))

    ending()
    response = person.post(path, form_token=token, **fields)

    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(AuditEntry)) == before
    assert response.status_code == 303
    assert response.headers["location"].startswith("/admin/sign-in")
