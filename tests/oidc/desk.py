"""Where people sign in at a test's issuer: a page to agree on, and codes that count once."""

import base64
import hashlib
import html
import secrets
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

CLIENT_ID = "registry client"  # with a space, which HTTP Basic must carry encoded
PAGE = """<!doctype html><title>Issuer</title><link rel="icon" href="data:,">
<form method="post" action="{action}">
<input type="hidden" name="asked" value="{asked}"><label>Name <input name="subject"></label>
<button name="verdict" value="allow">Allow</button>
<button name="verdict" value="deny">Deny</button></form>"""


class Desk:
    """An OpenID provider's front: it believes the name one gives, but its client nothing.

    `claims` and `header` change the ID token; `answer` changes what the browser is sent back
    with, where None leaves something out; `spoilt` is answered instead of an ID token.
    """

    def __init__(self, issuer):
        self.issuer = issuer
        self.secret = None
        self.redirect_uri = None
        self.codes = {}
        self.claims = {}
        self.header = {}
        self.answer = {}
        self.spoilt = None
        self.authenticated = []

    def document(self):
        """Return what discovery says of signing in."""
        return {
            "authorization_endpoint": f"{self.issuer.url}/authorize",
            "token_endpoint": f"{self.issuer.url}/token",
            "authorization_response_iss_parameter_supported": True,
        }

    def page(self, query):
        """Return the page that asks for a name, if the client asks as it must."""
        self._request(query)
        action = f"{self.issuer.url}/decide"
        return PAGE.format(action=html.escape(action), asked=html.escape(query))

    def agreed(self, url, subject="alice"):
        """Sign somebody in who was sent to `url`; return where the browser is sent back to."""
        return self.decided(urlsplit(url).query, subject)

    def decided(self, query, subject, *, allow=True):
        asked = self._request(query)
        answer = {"state": asked["state"], "iss": self.issuer.url}
        if allow:
            answer["code"] = secrets.token_urlsafe(16)
            self.codes[answer["code"]] = asked | {"subject": subject}
        else:
            answer |= {"error": "access_denied", "error_description": "<b>No</b>"}
        kept = {name: value for name, value in (answer | self.answer).items() if value is not None}
        return f"{asked['redirect_uri']}?{urlencode(kept)}"

    def _request(self, query):
        asked = dict(parse_qsl(query, strict_parsing=True))
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["redirect_uri"] == self.redirect_uri
        assert "openid" in asked["scope"].split()
        assert asked["code_challenge_method"] == "S256"
        assert len(asked["code_challenge"]) == 43
        assert min(len(asked[name]) for name in ("state", "nonce")) >= 43
        return asked

    def redeemed(self, form, authorization):
        """Return the status and the document for a code; it counts once, right or wrong."""
        sent = dict(parse_qsl(form.decode(), strict_parsing=True))
        if not self._is_client(sent, authorization):
            return 401, {"error": "invalid_client", "error_description": str(self.secret)}
        asked = self.codes.pop(sent.get("code"), None)
        verifier = hashlib.sha256(sent.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).decode().rstrip("=")
        fits = (
            asked is not None
            and sent["grant_type"] == "authorization_code"
            and sent["redirect_uri"] == asked["redirect_uri"]
            and challenge == asked["code_challenge"]
        )
        if not fits:
            return 400, {"error": "invalid_grant"}
        if self.spoilt is not None:
            return 200, self.spoilt
        claims = {"aud": CLIENT_ID, "sub": asked["subject"], "nonce": asked["nonce"]}
        token = self.issuer.token(header=self.header, **claims | self.claims)
        return 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": token}

    def _is_client(self, sent, authorization):
        if authorization:
            _, _, encoded = authorization.partition(" ")
            pair = base64.b64decode(encoded).decode().split(":")
            id_, secret = (unquote_plus(each) for each in pair)
            self.authenticated.append("basic")
        else:
            id_, secret = sent.get("client_id"), sent.get("client_secret")
            self.authenticated.append("post" if secret else "none")
        return (id_, secret) == (CLIENT_ID, self.secret)
