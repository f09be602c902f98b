"""Refusals: one stable code each, with a sentence and facts for the caller."""

import re

import pytest

from app.domain.errors import Fault, FaultyError, InvalidArtifactError, NotFoundError, RegistryError


def concrete(kind=RegistryError):
    """Return the class of every refusal that can be raised."""
    found = [each for child in kind.__subclasses__() for each in (child, *concrete(child))]
    return [
        each for each in found if hasattr(each, "code") and each.__module__ == "app.domain.errors"
    ]


def test_no_two_refusals_share_a_code():
    codes = [error.code for error in concrete()]

    assert len(codes) > 30
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("error", concrete(), ids=lambda error: error.__name__)
def test_the_code_of_a_refusal_is_its_name(error):
    name = error.__name__.removesuffix("Error")

    assert error.code == re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


@pytest.mark.parametrize("error", concrete(), ids=lambda error: error.__name__)
def test_the_title_of_a_refusal_is_short_and_does_not_end_like_a_sentence(error):
    assert re.fullmatch(r"[A-Z][^.]{5,70}", error.title)


def test_a_refusal_carries_a_sentence_and_facts():
    refused = NotFoundError("There is no version 7.", version=7)

    assert str(refused) == refused.detail == "There is no version 7."
    assert refused.members == {"version": 7}


def test_a_refusal_for_faults_carries_all_of_them_as_json():
    faults = [Fault("dtype", "The dtype is int8."), Fault("shape", "The shape is (3,).")]

    refused = InvalidArtifactError("The artifact is refused; see faults.", faults)

    assert isinstance(refused, FaultyError)
    assert refused.faults == tuple(faults)
    assert refused.members == {
        "faults": [
            {"code": "dtype", "message": "The dtype is int8."},
            {"code": "shape", "message": "The shape is (3,)."},
        ]
    }
