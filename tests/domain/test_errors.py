"""Refusals: one stable code each, with a sentence and facts for the caller."""

import re

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


def test_the_code_of_a_refusal_is_its_name():
    names = {error.code: error.__name__.removesuffix("Error") for error in concrete()}
    derived = {code: re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower() for code, name in names.items()}

    assert derived == {code: code for code in names}


def test_the_title_of_a_refusal_is_short_and_does_not_end_like_a_sentence():
    titles = [error.title for error in concrete()]

    assert [title for title in titles if not re.fullmatch(r"[A-Z][^.]{5,70}", title)] == []


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
