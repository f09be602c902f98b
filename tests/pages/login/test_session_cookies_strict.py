"""Cookies and headers that no page has set: none reaches a response, and each has an answer."""

import pytest

from tests.pages.login.test_session_cookies import FORM_TOKEN
from tests.support.builders import code

OWN = "A" * 43


def form_after(client, cookie):
    """Return the sign-in form's token and the cookie that the page sets, for a given cookie."""
    client.cookies.clear()
    response = client.get("/admin/sign-in", headers={"Cookie": f"registry_sign_in={cookie}"})
    assert response.status_code == 200
    name, value = response.headers["set-cookie"].split(";")[0].split("=", 1)
    assert name == "registry_sign_in"
    return FORM_TOKEN.search(response.text).group(1), value


@pytest.mark.parametrize(
    "cookie",
    [
        pytest.param("short", id="short"),
        pytest.param("A" * 44, id="long"),
        pytest.param("A" * 42 + "!", id="other-characters"),
        pytest.param('"A\\054 Domain=evil.example"', id="quoted"),
        pytest.param('"' + "A" * 42 + '\\012"', id="line-end"),
        pytest.param("", id="empty"),
    ],
)
def test_a_cookie_of_another_form_is_replaced_and_not_echoed(client, cookie):
    token, value = form_after(client, cookie)
    assert token == value
    assert len(value) == len(OWN)
    assert value not in {cookie, cookie.strip('"')}


def test_the_cookie_of_an_open_form_is_kept(client):
    """Otherwise a second tab would end the first one's form."""
    assert form_after(client, OWN) == (OWN, OWN)


@pytest.mark.parametrize("path", ["/admin/sign-in", "/admin/sign-in/none", "/admin/sign-out"])
def test_a_form_with_an_idempotency_key_is_refused(client, path):
    response = client.post(path, headers={"Idempotency-Key": "a-key"}, data={"token": "x"})
    assert (response.status_code, code(response)) == (400, "malformed-request")
    assert "Idempotency-Key" in response.json()["detail"]
