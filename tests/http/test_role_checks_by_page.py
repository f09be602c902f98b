"""Every page, called by every kind of caller: the table decides, and refusals write nothing."""

import re

from fastapi.routing import iter_route_contexts

from app.db.session import sessions_on
from app.domain.identity.access import Role
from app.services.identity import web_sessions
from tests.api.access import PAGES, Held
from tests.http.conftest import ANONYMOUS, CALLERS, LIMITED
from tests.http.test_role_checks_by_route import expected, fits, names_in, parametrised
from tests.support.session.served import pages_in

# The forms of pages, without their CSRF tokens.
REASON = "the fleet is down, and this mends it"
FORMS = {
    ("POST", "/admin/promotions/{promotion_id}/reviews"): {"verdict": "approve"},
    ("POST", "/admin/promotions/{promotion_id}/break-glass"): {
        "reason": REASON,
        "confirmation": "break glass",
    },
    ("POST", "/admin/prefixes/{namespace}/{name}/versions/{number}/revoke"): {
        "reason": "it leaks",
        "confirmation": "revoke 2",
    },
    ("POST", "/admin/prefixes/{namespace}/{name}/versions/{number}/gate/{channel}"): {
        "reason": "better"
    },
    ("POST", "/admin/prefixes/{namespace}/{name}/versions/{number}/gate/{channel}/break-glass"): {
        "reason": REASON,
        "confirmation": "break glass",
    },
}


def open_session(world, sessions, caller):
    """Return the cookie header and the CSRF token of a new session; empty for nobody."""
    if caller[0] == ANONYMOUS:
        return {}, {}
    token = world.tokens[LIMITED if caller[0] == LIMITED else caller]
    visit = web_sessions.sign_in(sessions, token=token)
    return {"Cookie": f"registry_session={visit.cookie}"}, {"form_token": visit.form_token}


def send_page(world, route, caller, headers, tokens):
    method, path = route
    names = names_in(world, path, caller) | {"issuer": "sso.example"}
    if "/gate/" in path:
        names["number"] = world.waiting["number"]
    if path.startswith("/admin/policies"):
        names |= {"name": world.policy["name"], "number": 1}
    address = path.replace(":path}", "}").format(**names | {"path": names["path"]})
    form = {"data": FORMS.get(route, {}) | tokens} if method == "POST" else {}
    world.client.cookies.clear()
    return world.client.request(method, address, headers=headers, follow_redirects=False, **form)


def fits_page(response, route, access, caller):
    """Whether a page answered a caller as the table says; a redirect to sign in is a refusal."""
    asks_to_sign_in = "/admin/sign-in?next=" in response.headers.get("location", "")
    if caller[0] == ANONYMOUS and not access.is_open:
        return asks_to_sign_in
    if "/sign-in" in route[1] and (route[0] == "POST" or "callback" in route[1]):
        # An open page that refuses the empty answer of a person or an issuer.
        return 400 <= response.status_code < 500
    return not asks_to_sign_in and fits(response, access, expected(access, caller))


def test_the_table_lists_exactly_the_pages(app):
    routes = list(iter_route_contexts(pages_in(app).routes))
    served = {(method, f"/admin{route.path}") for route in routes for method in route.methods or ()}
    assert served == set(PAGES)
    assert [route.path for route in routes if not route.methods] == ["/static"]


@parametrised(list(PAGES))
def test_a_page_opens_only_to_the_roles_in_the_table(governed, recorder, route):
    wrong = {}
    access, sessions = PAGES[route], sessions_on(recorder.connection)
    for caller in [*CALLERS, (LIMITED, None), (ANONYMOUS, None)]:
        refusal = expected(access, caller)
        with recorder.rolled_back():
            headers, tokens = open_session(governed, sessions, caller)
            before = recorder.writes()
            response = send_page(governed, route, caller, headers, tokens)
            written = recorder.writes() - before
        fits = fits_page(response, route, access, caller)
        if not fits or (refusal is not None and written):
            wrong[caller] = (response.status_code, response.text[:200], written)
    assert wrong == {}


@parametrised([route for route in PAGES if route[0] == "POST" and "sign-in" not in route[1]])
def test_a_page_takes_no_form_of_another_session(governed, recorder, route):
    sessions = sessions_on(recorder.connection)
    caller = (Role.ADMIN, Held.EVERYWHERE)
    with recorder.rolled_back():
        headers, _ = open_session(governed, sessions, caller)
        _, tokens = open_session(governed, sessions, caller)
        before = recorder.writes()
        response = send_page(governed, route, caller, headers, tokens)
        assert (response.status_code, recorder.writes() - before) == (403, 0)


PAGE_OF_READER = {"/admin/", "/admin/prefixes", "/admin/base-models"}


def test_a_reader_is_shown_no_link_that_the_table_refuses(governed, recorder):
    sessions = sessions_on(recorder.connection)
    with recorder.rolled_back():
        headers, _ = open_session(governed, sessions, (Role.READER, Held.HERE))
        prefix = f"/admin/prefixes/{governed.namespace}/voice"
        paths = [*PAGE_OF_READER, prefix, f"{prefix}/versions/{governed.live['number']}"]
        for path in paths:
            text = governed.client.get(path, headers=headers).text
            for link in set(re.findall(r'href="(/admin/[^"#?]*)', text)):
                if "/static/" not in link:
                    assert governed.client.get(link, headers=headers).status_code == 200, (
                        path,
                        link,
                    )
