"""Channels as queries return them: those that were asked for, and no others."""

from uuid import UUID

from sqlalchemy import select

from app.db.channels import channels_of
from app.db.models import Prefix


def test_the_channels_of_a_prefix_are_its_own_alone(world, world_on, sessions):
    other = world_on()
    for each in (world, other):
        each.a_prefix()
        each.a_channel("staging")
    world.a_channel("canary")

    with sessions() as session:
        own = session.scalars(select(Prefix.id).where(Prefix.namespace == world.namespace)).one()
        found = channels_of(session, [own])

    assert {key: [each.name for each in of] for key, of in found.items()} == {
        own: ["canary", "staging"]
    }


def test_no_prefix_has_no_channels(world, sessions):
    world.a_prefix()
    world.a_channel()
    with sessions() as session:
        assert dict(channels_of(session, [])) == {}
        assert dict(channels_of(session, [UUID(int=0)])) == {}
