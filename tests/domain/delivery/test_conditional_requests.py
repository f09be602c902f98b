"""Entity tags: which headers list a tag, and the preconditions of a write."""

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
    ("header", "listed"),
    [
        pytest.param(None, False, id="absent"),
        pytest.param(TAG, True, id="same"),
        pytest.param(OTHER, False, id="other"),
        pytest.param(f"W/{TAG}", True, id="weak"),
        pytest.param(f'"x", {TAG}', True, id="in-a-list"),
        pytest.param(f'"x" ,, W/"y,z" , {TAG} ', True, id="in-an-untidy-list"),
        pytest.param("*", True, id="wildcard"),
        pytest.param('"*"', False, id="quoted-star"),
        pytest.param(TAG.strip('"'), False, id="unquoted"),
        pytest.param(f'"{TAG}', False, id="broken"),
        pytest.param("", False, id="empty"),
    ],
)
def test_a_header_lists_the_tags_whose_bodies_can_be_left_out(header, listed):
    assert is_named(TAG, header) is listed


@pytest.mark.parametrize(
    ("condition", "existing", "holds"),
    [
        pytest.param({}, None, True, id="no-demand-and-no-object"),
        pytest.param({}, TAG, True, id="no-demand"),
        pytest.param({"if_match": TAG}, TAG, True, id="same"),
        pytest.param({"if_match": f"{OTHER}, {TAG}"}, TAG, True, id="one-of"),
        pytest.param({"if_match": OTHER}, TAG, False, id="other"),
        pytest.param({"if_match": f"W/{TAG}"}, TAG, False, id="weak-never-matches"),
        pytest.param({"if_match": TAG}, None, False, id="same-of-a-missing-object"),
        pytest.param({"if_match": "*"}, TAG, True, id="any-object"),
        pytest.param({"if_match": "*"}, None, False, id="any-object-is-missing"),
        pytest.param({"if_none_match": "*"}, None, True, id="new"),
        pytest.param({"if_none_match": "*"}, TAG, False, id="not-new"),
        pytest.param({"if_none_match": f"W/{TAG}"}, TAG, False, id="none-of-these"),
        pytest.param({"if_none_match": OTHER}, TAG, True, id="none-of-others"),
    ],
)
def test_a_precondition_holds_or_refuses_the_write(condition, existing, holds):
    precondition = Precondition(**condition)
    if holds:
        precondition.require("The channel production", existing)
    else:
        with pytest.raises(PreconditionFailedError, match="The channel production"):
            precondition.require("The channel production", existing)


@pytest.mark.parametrize("header", ["", ",", "abc", '"abc', '"a" "b"', '*, "a"', '"a"x'])
def test_a_malformed_precondition_is_refused(header):
    for condition in (Precondition(if_match=header), Precondition(if_none_match=header)):
        with pytest.raises(MalformedRequestError, match="quoted entity tags"):
            condition.require("The channel production", TAG)
