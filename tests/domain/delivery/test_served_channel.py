"""Which version a channel serves to a unit."""

from uuid import UUID, uuid4

import pytest

from app.domain.delivery.served_channel import ServedChannel, ServedVersion
from app.domain.errors import BaseModelMismatchError
from app.domain.naming import PrefixName

BASE = f"sha256:{'b' * 64}"
OTHER_BASE = f"sha256:{'c' * 64}"


def a_version(number, weight):
    return ServedVersion(uuid4(), number, weight, f"sha256:{number:064x}", BASE, ())


def a_channel(*versions):
    prefix = PrefixName("acme", "voice")
    return ServedChannel(UUID(int=1), uuid4(), prefix, "production", 3, versions)


def test_a_channel_without_versions_serves_no_unit():
    assert a_channel().version_for("user-1") is None


def test_units_are_split_and_each_stays_with_its_version():
    channel = a_channel(a_version(1, 7000), a_version(2, 3000))
    units = [f"user-{number}" for number in range(50)]
    first = [channel.version_for(unit).number for unit in units]
    assert first == [channel.version_for(unit).number for unit in units]
    assert set(first) == {1, 2}
    assert channel.version_for(None).number == 1


def test_a_channel_knows_its_key_and_its_versions():
    version = a_version(1, 10_000)
    channel = a_channel(version)
    assert channel.key == ("acme", "voice", "production")
    assert channel.serves(version.id)
    assert not channel.serves(uuid4())


def test_only_another_base_model_is_refused():
    version = a_version(1, 10_000)
    channel = a_channel(version)
    channel.require_base(version, None)
    channel.require_base(version, BASE)
    with pytest.raises(BaseModelMismatchError, match=r"production of acme/voice .* not sha256:c"):
        channel.require_base(version, OTHER_BASE)
