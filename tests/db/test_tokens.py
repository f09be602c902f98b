"""Tokens as queries find them: until their expiry, to the instant."""

from datetime import timedelta

from sqlalchemy import select

from app.db.models import ApiToken
from app.db.tokens import valid_token
from app.domain.identity.tokens import token_hash

TICK = timedelta(microseconds=1)


def test_at_its_very_expiry_a_token_is_no_longer_valid(world, sessions):
    _, token = world.a_principal()
    with sessions() as session:
        expiry = session.scalars(
            select(ApiToken.expires_at).where(ApiToken.hash == token_hash(token))
        ).one()
        assert valid_token(session, token, expiry - TICK).expires_at == expiry
        assert valid_token(session, token, expiry) is None
