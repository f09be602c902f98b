"""Tokens as queries find them: until their expiry, to the instant."""

from datetime import timedelta

from sqlalchemy import select

from app.db.models import ApiToken
from app.db.tokens import valid_token, write_last_use
from app.domain.identity.tokens import token_hash

TICK = timedelta(microseconds=1)


def test_at_its_very_expiry_a_token_is_no_longer_valid(world, sessions, time):
    _, token = world.a_principal()
    with sessions() as session:
        expiry = session.scalars(
            select(ApiToken.expires_at).where(ApiToken.hash == token_hash(token))
        ).one()
        time.stop_at(expiry - TICK)
        assert valid_token(session, token).expires_at == expiry
        time.stop_at(expiry)
        assert valid_token(session, token) is None


def test_a_use_is_written_from_the_end_of_the_interval(world, sessions, time):
    _, token = world.a_principal()
    known = select(ApiToken).where(ApiToken.hash == token_hash(token))
    interval = timedelta(minutes=5)
    with sessions.begin() as session:
        row = session.scalars(known).one()
        first = row.created_at
        for now, written in (
            (first, first),
            (first + interval - TICK, first),
            (first + interval, first + interval),
        ):
            time.stop_at(now)
            write_last_use(session, row.id, interval=interval)
            session.refresh(row)
            assert row.last_used_at == written
