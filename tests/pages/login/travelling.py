"""A user whose browser goes to an issuer and back, and the configuration for it."""

import html
import re
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

from app.domain.identity.access import PrincipalKind
from app.domain.identity.oidc_login import Client
from app.oidc.issuers import Issuers
from tests.oidc.desk import CLIENT_ID
from tests.oidc.test_issuers import trusted
from tests.pages.login.test_session_cookies import Person
from tests.support.session.served import pages_in

ONWARD = re.compile(r'<meta http-equiv="refresh" content="0; url=([^"]+)">')
ALERT = re.compile(r'role="alert"[^>]*>(.*?)</div>', re.DOTALL)


def signed_in_through(issuer, name="people", url="http://testserver", **client):
    """Return the configuration for sign-in through an issuer."""
    issuer.desk.redirect_uri = f"{url}/admin/sign-in/{name}/callback"
    issuer.desk.secret = client.get("secret")
    registered = Client(name, CLIENT_ID, issuer.desk.redirect_uri, **client)
    return trusted(issuer, kind=PrincipalKind.HUMAN, client=registered)


class Traveller(Person):
    """A user whose browser goes to the issuer and back."""

    def __init__(self, client, issuer):
        super().__init__(client, None)
        self.issuer = issuer

    def depart(self, name="people", **fields):
        fields = {"form_token": self.form_token("/admin/sign-in")} | fields
        return self.post(f"/admin/sign-in/{name}", **fields)

    def sent_to(self, **fields):
        response = self.depart(**fields)
        assert response.status_code == 200, response.text
        return onward(response)

    def back(self, subject="alice", **fields):
        """Go to the issuer, sign in there, and come back."""
        return self.come(self.issuer.desk.agreed(self.sent_to(**fields), subject))

    def come(self, url, **changes):
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query)) | changes
        return self.get(parts.path, params={k: v for k, v in query.items() if v is not None})


def onward(response):
    return html.unescape(ONWARD.search(response.text).group(1))


def refusal(response, status=401):
    """Return why the sign-in failed; the response must be the sign-in page."""
    assert response.status_code == status, response.text
    assert '<button type="submit">Sign in with people</button>' in response.text
    assert "registry_session=" not in response.headers["set-cookie"]
    (alert,) = ALERT.findall(response.text)
    return html.unescape(re.sub(r"<[^>]*>", "", alert)).strip()


def configure(world, *configured):
    """Configure these issuers, with empty caches."""
    app = world.client.app
    for each in (app, pages_in(app)):
        each.state.parts = replace(each.state.parts, issuers=Issuers(configured))
