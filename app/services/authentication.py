"""Who is calling: the principal behind a bearer token."""

from datetime import datetime

from app.db.session import Sessions
from app.db.tokens import valid_token
from app.domain.access import Caller
from app.domain.errors import UnauthenticatedError
from app.domain.tokens import is_token
from app.services.usage import TokenUses


def authenticate(
    sessions: Sessions, *, token: str, now: datetime, uses: TokenUses | None = None
) -> Caller:
    """Return who holds an API token; the use is noted in `uses`.

    Raises:
        UnauthenticatedError: The token is malformed, unknown, revoked or expired.
    """
    found = None
    if is_token(token):
        with sessions() as session:
            found = valid_token(session, token, now)
    if found is None:
        raise UnauthenticatedError("The bearer token is unknown, revoked or expired.")
    if uses is not None:
        uses.note(found, now)
    return found.caller
