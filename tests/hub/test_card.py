"""The generated model card: its tags, and the order of what it lists."""

import re

import pytest
import yaml

from tests.support.adapters import a_config


def card_of(world, version, *, by="publisher"):
    path = f"/{world.prefix}/resolve/{version['revision']}/README.md"
    return world.call("GET", path, by=by).text


def front_matter(card):
    return yaml.safe_load(card.split("---\n")[1])


@pytest.mark.parametrize(
    ("peft_type", "tags"),
    [("PREFIX_TUNING", ["prefix-tuning"]), ("CARTRIDGE", ["cartridge", "prefix-tuning"])],
)
def test_the_tags_hold_the_type_of_the_version(world, peft_type, tags):
    world.a_base()
    world.a_prefix()
    response = world.push(config=a_config(peft_type=peft_type))
    assert response.status_code == 201, response.text
    assert front_matter(card_of(world, response.json()))["tags"] == tags


def test_approvals_are_listed_latest_first(world):
    version = world.a_live_version()
    for channel in ("staging", "canary"):
        world.a_channel(channel)
        world.approve(world.request(version, channel=channel).json())

    approvals = card_of(world, version).split("## Approvals")[1]

    assert re.findall(r"^- ([a-z]+), ", approvals, re.MULTILINE) == [
        "canary",
        "staging",
        "production",
    ]
