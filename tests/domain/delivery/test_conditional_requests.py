"""Entity tags: which lists of them name a thing, and what a write may demand."""

import pytest

from app.domain.delivery.conditional_requests import Precondition, entity_tag, is_named
from app.domain.errors import MalformedRequestError, PreconditionFailedError

TAG = entity_tag("channel", 1)
OTHER = entity_tag("channel", 2)


def test_a_tag_is_strong_and_changes_with_any_fact():
    assert TAG.startswith('"')
    assert TAG.endswith('"')
    assert len({TAG, OTHER, entity_tag("channel", "1"), entity_tag("channel")}) == 4


@pytest.mark.parametrize(
    ("header", "named"),
    [
        pytest.param(None, False, id="absent"),
        pytest.param(TAG, True, id="same"),
        pytest.param(OTHER, False, id="other"),
        pytest.param(f"W/{TAG}", True, id="weak"),
        pytest.param(f'"x", {TAG}', True, id="in-a-list"),
        pytest.param(f'"x" ,, W/"y,z" , {TAG} ', True, id="in-an-untidy-list"),
        pytest.param("*", True, id="anything"),
        pytest.param('"*"', False, id="quoted-star"),
        pytest.param(TAG.strip('"'), False, id="unquoted"),
        pytest.param(f'"{TAG}', False, id="broken"),
        pytest.param("", False, id="empty"),
    ],
)
def test_what_need_not_be_sent_again_is_named(header, named):
    assert is_named(TAG, header) is named


@pytest.mark.parametrize(
    ("condition", "there", "holds"),
    [
        pytest.param({}, None, True, id="nothing-demanded-of-nothing"),
        pytest.param({}, TAG, True, id="nothing-demanded"),
        pytest.param({"if_match": TAG}, TAG, True, id="same"),
        pytest.param({"if_match": f"{OTHER}, {TAG}"}, TAG, True, id="one-of"),
        pytest.param({"if_match": OTHER}, TAG, False, id="other"),
        pytest.param({"if_match": f"W/{TAG}"}, TAG, False, id="weak-never-matches"),
        pytest.param({"if_match": TAG}, None, False, id="same-of-nothing"),
        pytest.param({"if_match": "*"}, TAG, True, id="anything"),
        pytest.param({"if_match": "*"}, None, False, id="anything-of-nothing"),
        pytest.param({"if_none_match": "*"}, None, True, id="new"),
        pytest.param({"if_none_match": "*"}, TAG, False, id="not-new"),
        pytest.param({"if_none_match": f"W/{TAG}"}, TAG, False, id="none-of-these"),
        pytest.param({"if_none_match": OTHER}, TAG, True, id="none-of-others"),
    ],
)
def test_a_write_may_demand_what_it_finds(condition, there, holds):
    precondition = Precondition(**condition)
    if holds:
        precondition.require("The channel production", there)
    else:
        with pytest.raises(PreconditionFailedError, match="The channel production"):
            precondition.require("The channel production", there)


@pytest.mark.parametrize("header", ["", ",", "abc", '"abc', '"a" "b"', '*, "a"', '"a"x'])
def test_a_demand_that_cannot_be_read_is_refused(header):
    for condition in (Precondition(if_match=header), Precondition(if_none_match=header)):
        with pytest.raises(MalformedRequestError, match="quoted entity tags"):
            condition.require("The channel production", TAG)
