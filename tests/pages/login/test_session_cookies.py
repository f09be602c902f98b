"""Sessions: how they open and end, and the CSRF token of each form."""

import re
from datetime import timedelta
from uuid import UUID

import pytest
from fastapi.routing import iter_route_contexts
from sqlalchemy import select

from app.db.models import WebSession
from app.services.identity import web_sessions
from tests.support.session.served import pages_in

FORM = "application/x-www-form-urlencoded"
FORM_TOKEN = re.compile(r'name="form_token" value="([^"]+)"')


class Person:
    """A user with a minimal browser: cookies and forms only."""

    def __init__(self, client, token):
        self.client = client
        self.token = token
        client.cookies.clear()

    def get(self, path, **arguments):
        return self.client.get(path, follow_redirects=False, **arguments)

    def post(self, path, **fields):
        return self.client.post(path, data=fields, follow_redirects=False)

    def form_token(self, path):
        found = FORM_TOKEN.search(self.get(path).text)
        return found and found.group(1)

    def sign_in(self, **changes):
        fields = {"token": self.token, "form_token": self.form_token("/admin/sign-in")} | changes
        return self.post("/admin/sign-in", **fields)

    def keep(self, cookie):
        """Replace the session cookie."""
        self.client.cookies.clear()
        self.client.cookies.set("registry_session", cookie)

    def is_in(self):
        return self.get("/admin/").status_code == 200


@pytest.fixture
def person(world):
    _, token = world.a_principal(None, ("approver", world.namespace))
    return Person(world.client, token)


def rows(sessions):
    with sessions() as session:
        return session.scalars(select(WebSession)).all()


def test_a_token_opens_a_session_whose_cookie_is_closed_to_scripts_and_other_sites(person):
    response = person.sign_in()

    assert (response.status_code, response.headers["location"]) == (303, "/admin/")
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("registry_session=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert person.is_in()


def test_behind_tls_the_cookie_is_secure_and_bound_to_the_host(person, world):
    person.client.base_url = "https://testserver"
    response = person.sign_in()
    assert response.headers["set-cookie"].startswith("__Host-registry_session=")
    assert "; Secure" in response.headers["set-cookie"]
    assert person.is_in()


def test_neither_token_nor_cookie_is_stored_in_clear(person, sessions):
    cookie = person.sign_in().headers["set-cookie"].split("=")[1].split(";")[0]
    stored = " ".join(str(vars(row)) for row in rows(sessions))
    assert cookie not in stored
    assert person.token not in stored
    assert person.token not in cookie


@pytest.mark.parametrize("token", ["", "prg_nonsense", "x" * 300], ids=["none", "wrong", "long"])
def test_without_a_valid_token_the_sign_in_fails(person, token):
    response = person.sign_in(token=token)
    assert response.status_code in (401, 422)
    assert not person.is_in()


def test_a_sign_in_form_that_this_browser_was_not_shown_is_refused(person):
    response = person.sign_in(form_token="made up")  # noqa: S106 - no password
    assert response.status_code == 403
    assert "too old" in response.text
    assert not person.is_in()


def test_a_session_ends_with_its_token(person, world, sessions):
    person.sign_in()
    issued = world.made("POST", "/v1/tokens", by="admin", json={"principal": "approver-1"})
    other = Person(world.client, issued["token"])
    other.sign_in()
    assert other.is_in()

    world.call("DELETE", f"/v1/tokens/{issued['id']}", by="admin")

    response = other.get("/admin/reviews")
    assert response.headers["location"] == "/admin/sign-in?next=%2Fadmin%2Freviews"


def test_a_session_ends_after_half_an_hour_without_use(person, time):
    person.sign_in()
    time.ahead = web_sessions.IDLE_LIFETIME - timedelta(seconds=5)
    assert person.is_in()
    time.ahead += web_sessions.IDLE_LIFETIME
    assert not person.is_in()


def test_a_page_left_open_does_not_keep_its_session_alive(person, time):
    person.sign_in()
    time.ahead = timedelta(minutes=20)
    assert person.get("/admin/reviews?unattended").status_code == 200
    time.ahead = timedelta(minutes=31)
    response = person.get("/admin/reviews?unattended", headers={"HX-Request": "true"})
    assert response.headers["hx-redirect"] == "/admin/sign-in?next=%2Fadmin%2Freviews"


def test_a_session_in_constant_use_ends_after_its_longest_lifetime(person, time):
    person.sign_in()
    while time.ahead < web_sessions.LONGEST_LIFETIME:
        assert person.is_in()
        time.ahead += timedelta(minutes=25)
    assert not person.is_in()


def test_the_cookie_is_renewed_and_the_old_one_soon_stops_working(person, time):
    person.sign_in()
    old = person.client.cookies["registry_session"]
    time.ahead = web_sessions.RENEWED_AFTER
    assert person.is_in()
    new = person.client.cookies["registry_session"]
    assert new != old

    person.keep(old)
    time.ahead += timedelta(seconds=10)
    assert person.is_in(), "a request in flight during the renewal is still accepted"
    time.ahead += timedelta(minutes=1)
    assert not person.is_in()


def test_signing_out_ends_the_session_for_every_copy_of_its_cookie(person, world):
    person.sign_in()
    copied = person.client.cookies["registry_session"]
    response = person.post("/admin/sign-out", form_token=person.form_token("/admin/"))
    assert response.headers["location"] == "/admin/sign-in"
    person.keep(copied)
    assert not person.is_in()


def test_signing_in_and_out_are_on_the_audit_log(person, world):
    person.sign_in()
    opened = world.last_entry("registry")
    person.post("/admin/sign-out", form_token=person.form_token("/admin/"))
    closed = world.last_entry("registry")
    assert (opened["action"], closed["action"]) == ("session.open", "session.close")
    assert opened["facts"]["session_id"] == closed["facts"]["session_id"]


def test_expired_sessions_are_deleted_at_the_next_sign_in(person, time, sessions):
    others = {row.id for row in rows(sessions)}  # left by tests whose clock was ahead
    person.sign_in()
    mine = {row.id for row in rows(sessions)} - others
    time.ahead = web_sessions.LONGEST_LIFETIME
    person.sign_in()
    assert mine.isdisjoint(row.id for row in rows(sessions))


@pytest.mark.parametrize("mark", ["", "made up"], ids=["missing", "wrong"])
def test_a_form_without_the_csrf_token_of_its_session_has_no_effect(person, world, mark):
    promotion = world.a_promotion()
    person.sign_in()
    path = f"/admin/promotions/{promotion['id']}/reviews"

    response = person.post(path, verdict="approve", form_token=mark)

    assert response.status_code == 403
    assert "does not belong to your current session" in response.text
    assert world.promotion(promotion)["reviews"] == []


def test_a_form_of_an_ended_session_asks_to_sign_in_and_comes_back(person, world, time):
    promotion = world.a_promotion()
    person.sign_in()
    path = f"/admin/promotions/{promotion['id']}"
    mark = person.form_token(path)
    time.ahead = web_sessions.LONGEST_LIFETIME

    fields = {"verdict": "approve", "form_token": mark}
    referer = {"Referer": f"http://testserver{path}"}
    response = person.client.post(
        f"{path}/reviews", data=fields, headers=referer, follow_redirects=False
    )

    assert response.status_code == 303
    assert response.headers["location"] == f"/admin/sign-in?next={path.replace('/', '%2F')}"


@pytest.mark.parametrize(
    ("target", "goes"),
    [
        pytest.param("/admin/reviews?cursor=x", "/admin/reviews?cursor=x", id="a-page"),
        pytest.param("https://evil.example/admin/", "/admin/", id="another-host"),
        pytest.param("//evil.example/admin/", "/admin/", id="another-host-without-scheme"),
        pytest.param("/\\evil.example/admin/", "/admin/", id="backslash"),
        pytest.param("/v1/prefixes", "/admin/", id="not-a-page"),
        pytest.param("/admin/\r\nSet-Cookie: a=b", "/admin/", id="a-header"),
    ],
)
def test_the_sign_in_leads_to_pages_of_this_registry_only(person, target, goes):
    response = person.sign_in(next=target)
    assert response.headers["location"] == goes


def test_without_a_session_every_page_and_every_form_asks_to_sign_in(app, client):
    checked = 0
    for route in iter_route_contexts(pages_in(app).routes):
        path = re.sub(r"{[a-z_]*id}", str(UUID(int=1)), route.path)
        path = re.sub(r"{number}", "1", path)
        path = re.sub(r"{[a-z:_]+}", "example", path)
        for method in sorted(route.methods or ()):
            if path.startswith("/sign-in"):
                continue  # sign-in pages need no session
            response = client.request(method, f"/admin{path}", data={}, follow_redirects=False)
            assert response.status_code == 303, (method, path)
            assert response.headers["location"].startswith("/admin/sign-in?next="), path
            checked += 1
    assert checked > 15


def test_a_form_that_is_too_large_is_refused(person):
    response = person.post("/admin/sign-in", token="x" * 100_000)
    assert response.status_code == 413
