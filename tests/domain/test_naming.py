"""Names, digests and times have one form each."""

import hashlib
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from huggingface_hub.utils import validate_repo_id
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import NotFoundError
from app.domain.naming import (
    DIGEST_PATTERN,
    LABEL_PATTERN,
    NAME_PATTERN,
    REVISION_PATTERN,
    PrefixName,
    canonical_digest,
    is_name,
    is_namespace,
    is_reserved_channel,
    rfc3339,
    sha256_digest,
)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        pytest.param("acme", True, id="plain"),
        pytest.param("a", True, id="one-letter"),
        pytest.param("7", True, id="one-digit"),
        pytest.param("Brand-Voice_v1.2", True, id="all-separators"),
        pytest.param("a" * 95, True, id="the-longest"),
        pytest.param("a" * 96, False, id="too-long"),
        pytest.param("", False, id="empty"),
        pytest.param("-a", False, id="separator-first"),
        pytest.param("a-", False, id="separator-last"),
        pytest.param("a--b", False, id="doubled-separator"),
        pytest.param("a..b", False, id="doubled-dot"),
        pytest.param("a.-b", False, id="two-separators"),
        pytest.param(".", False, id="dot"),
        pytest.param("..", False, id="parent-folder"),
        pytest.param("a/b", False, id="slash"),
        pytest.param("a b", False, id="space"),
        pytest.param("a\n", False, id="line-break"),
        pytest.param("*", False, id="everywhere"),
        pytest.param("é", False, id="not-ascii"),
        pytest.param("٣", False, id="a-digit-that-is-not-ascii"),
        pytest.param("a%2e", False, id="percent"),
        pytest.param("repo.git", False, id="git"),
        pytest.param("git", True, id="git-without-a-dot"),
    ],
)
def test_a_name_is_letters_and_digits_with_single_separators(text, valid):
    assert is_name(text) is valid


@given(st.tuples(*[st.from_regex(NAME_PATTERN, fullmatch=True).filter(is_name)] * 2))
def test_hugging_face_clients_can_request_every_prefix_of_suitable_length(names):
    namespace, name = names
    if len(namespace) + len(name) < 96:
        validate_repo_id(f"{namespace}/{name}")


@given(st.text(st.sampled_from("aZ0._-/ *\n"), max_size=8))
def test_no_name_can_leave_its_path_segment(text):
    if is_name(text):
        assert not set("/ *\n") & set(text)
        assert text not in (".", "..")


@pytest.mark.parametrize(
    ("pattern", "text", "valid"),
    [
        pytest.param(DIGEST_PATTERN, f"sha256:{'0' * 64}", True, id="digest"),
        pytest.param(DIGEST_PATTERN, f"sha256:{'0' * 63}", False, id="short-digest"),
        pytest.param(DIGEST_PATTERN, f"sha256:{'A' * 64}", False, id="digest-in-capitals"),
        pytest.param(DIGEST_PATTERN, "0" * 64, False, id="digest-without-algorithm"),
        pytest.param(REVISION_PATTERN, "0" * 40, True, id="revision"),
        pytest.param(REVISION_PATTERN, "0" * 41, False, id="long-revision"),
        pytest.param(LABEL_PATTERN, "production", True, id="label"),
        pytest.param(LABEL_PATTERN, "a", True, id="short-label"),
        pytest.param(LABEL_PATTERN, "a" * 64, True, id="longest-label"),
        pytest.param(LABEL_PATTERN, "a" * 65, False, id="long-label"),
        pytest.param(LABEL_PATTERN, "Production", False, id="label-in-capitals"),
        pytest.param(LABEL_PATTERN, "a-", False, id="label-ending-in-a-separator"),
    ],
)
def test_patterns_admit_one_form(pattern, text, valid):
    assert bool(re.fullmatch(pattern, text)) is valid


def test_a_prefix_is_named_by_namespace_and_name():
    assert str(PrefixName("acme", "brand-voice")) == "acme/brand-voice"


def test_a_missing_prefix_is_refused_by_its_full_name():
    refused = PrefixName("acme", "brand-voice").missing()

    assert isinstance(refused, NotFoundError)
    assert refused.detail.startswith("There is no prefix acme/brand-voice,")


def test_a_digest_names_its_algorithm():
    assert sha256_digest(b"abc") == f"sha256:{hashlib.sha256(b'abc').hexdigest()}"


def test_a_document_is_hashed_in_the_canonical_form_of_rfc_8785():
    """The text is part of the example of RFC 8785, section 3.2.3."""
    document = {"numbers": [1e30, 4.5, 2e-3, 1e-27], "literals": [None, True, False]}
    text = b'{"literals":[null,true,false],"numbers":[1e+30,4.5,0.002,1e-27]}'

    assert canonical_digest(document) == sha256_digest(text)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.booleans()))
def test_the_order_of_keys_does_not_change_a_digest(document):
    assert canonical_digest(dict(reversed(document.items()))) == canonical_digest(document)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        pytest.param(
            datetime(2026, 3, 1, 12, tzinfo=UTC), "2026-03-01T12:00:00.000000Z", id="whole-second"
        ),
        pytest.param(
            datetime(2026, 3, 1, 12, 0, 0, 5, UTC), "2026-03-01T12:00:00.000005Z", id="microsecond"
        ),
        pytest.param(
            datetime(2026, 3, 1, 1, tzinfo=timezone(timedelta(hours=2))),
            "2026-02-28T23:00:00.000000Z",
            id="another-zone",
        ),
    ],
)
def test_a_time_has_one_form(moment, text):
    assert rfc3339(moment) == text


@given(
    seconds=st.integers(-(10**9), 10**10),
    microseconds=st.integers(0, 999_999),
    hours=st.integers(-12, 14),
)
def test_a_time_reads_back_as_the_same_moment(seconds, microseconds, hours):
    zone = timezone(timedelta(hours=hours))
    moment = datetime(2026, 3, 1, tzinfo=zone) + timedelta(0, seconds, microseconds)

    assert datetime.fromisoformat(rfc3339(moment)) == moment


@pytest.mark.parametrize(
    ("text", "reserved"),
    [
        *((text, True) for text in ("main", "Main", "master", "head", "HEAD", "latest", "refs")),
        *((text, True) for text in ("v1", "v0", "v007", "V2", "v12345678901234567890")),
        *((text, True) for text in ("a" * 40, "0123456789abcdef" * 4, "deadbee", "1234567")),
        *((text, True) for text in ("refs/heads/main", "refs/pr/1", "a..b", "a.lock")),
        *((text, False) for text in ("production", "staging", "canary", "beta", "mainline")),
        *((text, False) for text in ("v", "v2-rc", "ov2", "version2", "2", "facade", "a.b")),
        *((text, False) for text in ("g" * 40, "latest-eu", "headless", "locked", "refs-eu")),
    ],
)
def test_names_with_another_meaning_are_reserved(text, reserved):
    assert is_reserved_channel(text) is reserved


@pytest.mark.parametrize(("text", "valid"), [("acme", True), ("Acme", False), ("a--b", False)])
def test_a_namespace_is_a_name_in_lower_case(text, valid):
    assert is_namespace(text) is valid
