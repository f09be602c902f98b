"""Redeeming a code: from what a browser brought back to the ID token that it stands for."""

import base64
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import quote_plus

from app.domain.identity.oidc_login import Client
from app.oidc.discovery import Endpoints
from app.oidc.fetching import FetchError, send_form


class CodeRefusedError(Exception):
    """The issuer does not redeem a code; the message says why, for the log."""


def exchanged_token(endpoints: Endpoints, client: Client, *, code: str, verifier: str) -> str:
    """Return the ID token for a code, not verified yet.

    Raises:
        FetchError: The issuer does not answer in time, or with something else.
        CodeRefusedError: It refuses the code, or us.
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
    status, answer = send_form(endpoints.token_url, form, headers)
    if status != HTTPStatus.OK:
        raise CodeRefusedError(f"{endpoints.token_url} answers {status}, {_error_in(answer)}")
    token = answer.get("id_token")
    if not isinstance(token, str):
        raise FetchError(f"{endpoints.token_url} answers no ID token")
    return token


def _basic(id_: str, secret: str) -> str:
    # Form-encoded first, as RFC 6749 §2.3.1 has it.
    credentials = f"{quote_plus(id_)}:{quote_plus(secret)}".encode()
    return f"Basic {base64.b64encode(credentials).decode()}"


def _error_in(answer: Mapping[str, object]) -> str:
    # Its description may repeat what was sent, so the log has to do with the code.
    error = answer.get("error")
    return error[:40] if isinstance(error, str) and error.isidentifier() else "which says nothing"
