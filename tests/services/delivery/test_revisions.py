"""Finding the version of a Hub revision."""

import pytest

from app.domain.errors import (
    ChannelEmptyError,
    ForbiddenError,
    NotFoundError,
    VersionRevokedError,
)
from app.domain.naming import PrefixName
from app.services.delivery.revisions import is_pinned, version_named
from app.services.identity.authentication import authenticate


@pytest.fixture
def named(sessions, tokens, world):
    """Return the number of the version that a revision of the world's prefix names."""

    def named(revision, *, by="publisher"):
        caller = authenticate(sessions, token=tokens.get(by, by)).caller
        prefix = PrefixName(world.namespace, "voice")
        with sessions() as session:
            version = version_named(session, caller, prefix, revision)
        return None if version is None else version.number

    return named


def test_only_forty_hex_digits_are_pinned():
    assert is_pinned("0123456789abcdef" * 2 + "01234567")
    assert not is_pinned("0123456789abcdef" * 2 + "0123456")
    assert not is_pinned("v1")
    assert not is_pinned("main")


def test_a_version_is_named_by_number_or_digest(world, named):
    world.a_version(seed=1)
    second = world.a_version(seed=2)
    assert named("v2") == named(second["revision"]) == 2


def test_a_channel_names_its_live_version_and_main_is_production(world, named):
    world.a_live_version()
    assert named("production") == named("main") == named("main", by="reader") == 1


def test_a_channel_that_splits_its_traffic_names_its_heaviest_version(world, named):
    world.a_live_version(seed=1)
    world.an_evaluated_version(seed=2)
    allocation = [{"version": 1, "weight": 4000}, {"version": 2, "weight": 6000}]
    world.approve(world.request(allocation=allocation).json())
    assert named("main") == 2


@pytest.mark.parametrize("revision", ["v7", "0" * 40, "nowhere", "Not A Channel", "v0"])
def test_an_unknown_revision_names_no_version(world, named, revision):
    world.a_version()
    assert named(revision) is None


def test_an_empty_channel_is_refused(world, named):
    world.a_version()
    world.a_channel("staging")
    with pytest.raises(ChannelEmptyError):
        named("staging")


def test_main_is_empty_before_there_is_a_channel(world, named):
    world.a_version()
    with pytest.raises(ChannelEmptyError):
        named("main")


@pytest.mark.parametrize("revision", ["v1", "main"])
def test_a_revoked_version_is_refused(world, named, revision):
    world.revoke(world.a_live_version(), reason="it leaks names")
    with pytest.raises(VersionRevokedError, match="it leaks names"):
        named(revision)


def test_a_reader_gets_the_same_refusal_for_an_unreleased_and_a_missing_version(world, named):
    world.a_live_version(seed=1)
    world.a_version(seed=2)
    assert named("v1", by="reader") == 1
    for revision in ("v2", "v9", "0" * 40):
        refusal = f"No channel that you may read serves {revision} of"
        with pytest.raises(ForbiddenError, match=refusal):
            named(revision, by="reader")


def test_a_token_limited_to_channels_does_not_see_other_channels(world, named):
    world.a_live_version()
    world.a_channel("staging")
    world.approve(world.request({"number": 1}, channel="staging").json())
    limited = world.a_token("publisher", channels=["staging"])
    assert named("staging", by=limited) == 1
    assert named("main", by=limited) is None


def test_a_prefix_that_is_not_visible_is_not_found(world, named):
    world.a_live_version()
    with pytest.raises(NotFoundError):
        named("main", by=world.a_stranger())
