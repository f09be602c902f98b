"""The login endpoints of a test issuer: a consent page, and single-use authorization codes."""

import base64
import hashlib
import html
import secrets
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

CLIENT_ID = "registry client"  # the space must be encoded in HTTP Basic
PAGE = """<!doctype html><title>Issuer</title><link rel="icon" href="data:,">
<form method="post" action="{action}">
<input type="hidden" name="asked" value="{asked}"><label>Name <input name="subject"></label>
<button name="verdict" value="allow">Allow</button>
<button name="verdict" value="deny">Deny</button></form>"""


class Desk:
    """The login endpoints of an OpenID provider, which accept any user but check the client.

    `claims` and `header` change the ID token. `answer` changes the parameters of the redirect
    back, where None omits one. `spoilt` replaces the token response.
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
        """Return the login members of the discovery document."""
        return {
            "authorization_endpoint": f"{self.issuer.url}/authorize",
            "token_endpoint": f"{self.issuer.url}/token",
            "authorization_response_iss_parameter_supported": True,
        }

    def page(self, query):
        """Return the consent page, if the client's request is valid."""
        self._request(query)
        action = f"{self.issuer.url}/decide"
        return PAGE.format(action=html.escape(action), asked=html.escape(query))

    def agreed(self, url, subject="alice"):
        """Sign in a user who was sent to `url`; return the URL that the browser returns to."""
        return self.decided(urlsplit(url).query, subject)

    def decided(self, query, subject, *, allow=True):
        request = self._request(query)
        answer = {"state": request["state"], "iss": self.issuer.url}
        if allow:
            answer["code"] = secrets.token_urlsafe(16)
            self.codes[answer["code"]] = request | {"subject": subject}
        else:
            answer |= {"error": "access_denied", "error_description": "<b>No</b>"}
        sent = {name: value for name, value in (answer | self.answer).items() if value is not None}
        return f"{request['redirect_uri']}?{urlencode(sent)}"

    def _request(self, query):
        request = dict(parse_qsl(query, strict_parsing=True))
        assert request["response_type"] == "code"
        assert request["client_id"] == CLIENT_ID
        assert request["redirect_uri"] == self.redirect_uri
        assert "openid" in request["scope"].split()
        assert request["code_challenge_method"] == "S256"
        assert len(request["code_challenge"]) == 43
        assert min(len(request[name]) for name in ("state", "nonce")) >= 43
        return request

    def redeemed(self, form, authorization):
        """Return status and document for a code, which can be used once, successfully or not."""
        sent = dict(parse_qsl(form.decode(), strict_parsing=True))
        if not self._is_client(sent, authorization):
            return 401, {"error": "invalid_client", "error_description": str(self.secret)}
        request = self.codes.pop(sent.get("code"), None)
        verifier = hashlib.sha256(sent.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).decode().rstrip("=")
        is_valid = (
            request is not None
            and sent["grant_type"] == "authorization_code"
            and sent["redirect_uri"] == request["redirect_uri"]
            and challenge == request["code_challenge"]
        )
        if not is_valid:
            return 400, {"error": "invalid_grant"}
        if self.spoilt is not None:
            return 200, self.spoilt
        claims = {"aud": CLIENT_ID, "sub": request["subject"], "nonce": request["nonce"]}
        token = self.issuer.token(header=self.header, **claims | self.claims)
        return 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": token}

    def _is_client(self, sent, authorization):
        if authorization:
            _, _, encoded = authorization.partition(" ")
            pair = base64.b64decode(encoded).decode().split(":")
            id_, secret = (unquote_plus(part) for part in pair)
            self.authenticated.append("basic")
        else:
            id_, secret = sent.get("client_id"), sent.get("client_secret")
            self.authenticated.append("post" if secret else "none")
        return (id_, secret) == (CLIENT_ID, self.secret)
