"""Tokens: recognisable, unguessable, and stored only as a hash."""

import hashlib
import string
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.identity.tokens import is_token, new_token, token_hash

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


def base62(number):
    return base62(number // 62) + ALPHABET[number % 62] if number else ""


def a_token(secret="a" * 36):
    """Return the token of a secret, computed independently."""
    return f"prg_{secret}{base62(zlib.crc32(secret.encode())).rjust(6, '0')}"


secrets = st.text(ALPHABET, min_size=36, max_size=36)


def test_a_new_token_is_recognised():
    assert is_token(new_token())


def test_a_token_looks_as_scanners_expect():
    token = new_token()

    assert token == a_token(token[4:40])
    assert set(token[4:]) <= set(ALPHABET)
    assert len(token) == 46


def test_no_two_tokens_are_equal():
    tokens = [new_token() for _ in range(3_000)]

    # Each of 36 positions takes each of 62 characters: none is fixed, none is left out. One is left
    # out by chance with a probability of 36 * 62 * (61 / 62)**3000, or 1e-18.
    assert len(set(tokens)) == 3_000
    assert all(len({token[at] for token in tokens}) == 62 for at in range(4, 40))


@given(secrets)
def test_the_checksum_is_the_crc_of_the_secret_in_base_62(secret):
    assert is_token(a_token(secret))


@given(secret=secrets, at=st.integers(0, 45), character=st.characters(exclude_categories=["Cs"]))
def test_the_checksum_catches_any_single_changed_character(secret, at, character):
    token = a_token(secret)

    changed = token[:at] + character + token[at + 1 :]

    assert is_token(changed) == (changed == token)


def test_the_checksum_catches_every_change_of_every_character_to_another_of_the_alphabet():
    token = a_token("0123456789abcdefghijABCDEFGHIJ000000")

    for at in range(len(token)):
        changed = (token[:at] + each + token[at + 1 :] for each in ALPHABET if each != token[at])
        assert not any(map(is_token, changed))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("prg_", id="the-prefix-alone"),
        pytest.param(a_token()[:-1], id="too-short"),
        pytest.param(a_token() + "0", id="too-long"),
        pytest.param(a_token() + "\n", id="a-line-break"),
        pytest.param(" " + a_token(), id="a-space"),
        pytest.param(a_token("a" * 35), id="a-short-secret-with-its-checksum"),
        pytest.param(a_token("a" * 37), id="a-long-secret-with-its-checksum"),
        pytest.param(a_token().replace("prg_", "ghp_"), id="of-another-issuer"),
        pytest.param("prg_" + "é" * 36 + "000000", id="not-ascii"),
    ],
)
def test_text_in_another_form_is_not_a_token(text):
    assert not is_token(text)


@given(st.text(max_size=50))
def test_the_check_handles_any_text(text):
    assert is_token(text) == (len(text) == 46 and text == a_token(text[4:40]))


def test_the_stored_hash_is_the_sha256_of_the_token():
    token = a_token()

    assert token_hash(token) == hashlib.sha256(token.encode("ascii")).hexdigest()
