"""Stored objects as queries see them: pins and uploads to the instant, and damaged files."""

import uuid
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from app.db.blobs import damaged_among, expired_uploads, is_pinned, pin
from app.db.models import Prefix, Upload, Version
from app.services.artifacts import blob_damage
from tests.services.artifacts.test_uploads import announce
from tests.support.builders import weights

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)


def test_at_its_very_end_a_pin_holds_no_longer(sessions, tokens, time):
    digest = f"sha256:{uuid.uuid4().hex}{uuid.uuid4().hex}"
    with sessions.begin() as session:
        pin(session, [digest], NOW)
    for moment, holds in ((NOW - TICK, True), (NOW, False)):
        time.stop_at(moment)
        with sessions() as session:
            assert is_pinned(session, [digest]) is holds


def test_an_upload_expires_at_its_very_end(world, sessions, time):
    world.a_version()
    upload_id = uuid.UUID(announce(world, weights(1)).json()["id"])
    with sessions() as session:
        ends = session.get(Upload, upload_id).expires_at
    for moment, expired in ((ends - TICK, False), (ends, True)):
        time.stop_at(moment)
        with sessions.begin() as session:
            assert (
                upload_id in {each.id for each in expired_uploads(session, limit=1000)}
            ) is expired


def test_of_damaged_versions_only_those_asked_for_are_named(world, sessions):
    for seed in (1, 2):
        for file in world.a_version(seed)["files"]:
            blob_damage.mark(sessions, digest=file["sha256"], problem="its hash")
    with sessions() as session:
        versions = select(Version.id).join(Version.prefix)
        own = versions.where(Prefix.namespace == world.namespace).order_by(Version.number)
        first, second = session.scalars(own)
        assert set(damaged_among(session, [first])) == {first}
        assert set(damaged_among(session, [first, second])) == {first, second}
