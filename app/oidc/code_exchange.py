"""Exchanging the authorization code that a browser brought back for an ID token."""

import base64
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import quote_plus

from app.domain.identity.oidc_login import Client
from app.oidc.discovery import Endpoints
from app.oidc.fetching import FetchError, send_form


class CodeRefusedError(Exception):
    """The issuer refused an authorization code; the message gives the reason, for the log."""


def exchanged_token(endpoints: Endpoints, client: Client, *, code: str, verifier: str) -> str:
    """Return the ID token for a code; it is not verified yet.

    Raises:
        FetchError: The issuer does not respond in time, or its response has no ID token.
        CodeRefusedError: The issuer refuses the code or the client.
    """
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": client.redirect_uri,
        "code_verifier": verifier,
    }
    headers = {}
    if client.secret is not None and endpoints.takes_basic:
        headers["Authorization"] = _basic(client.id, client.secret)
    else:
        form["client_id"] = client.id
        if client.secret is not None:
            form["client_secret"] = client.secret
    status, document = send_form(endpoints.token_url, form, headers)
    if status != HTTPStatus.OK:
        raise CodeRefusedError(f"{endpoints.token_url} responds {status}: {_error_in(document)}")
    token = document.get("id_token")
    if not isinstance(token, str):
        raise FetchError(f"{endpoints.token_url} returns no ID token")
    return token


def _basic(id_: str, secret: str) -> str:
    # RFC 6749 §2.3.1 requires form-encoding before base64.
    credentials = f"{quote_plus(id_)}:{quote_plus(secret)}".encode()
    return f"Basic {base64.b64encode(credentials).decode()}"


def _error_in(document: Mapping[str, object]) -> str:
    # Only the error code is logged: the description may repeat secrets from the request.
    error = document.get("error")
    return error[:40] if isinstance(error, str) and error.isidentifier() else "no error code"
