"""The audit chain: any tampering is found, and SHA-256 and JSON suffice to verify it."""

import hashlib
import json
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain.audit.chain import (
    GENESIS,
    MOST_FACTS_BYTES,
    Event,
    document_of,
    require_bounded,
    seal,
    subject_of,
    verify,
)
from app.domain.errors import TooLargeError
from app.domain.naming import PrefixName
from tests.support.evidence import NOW, a_digest, an_id

SUBJECT = "prefix:acme/brand-voice"
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
ASCII_NAMES = st.text(st.characters(max_codepoint=127), max_size=5)
FACTS = st.dictionaries(
    ASCII_NAMES,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | NAMES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ASCII_NAMES, inner, max_size=3),
        max_leaves=3,
    ),
    max_size=2,
)


def an_event(**changes):
    facts = {
        "subject": SUBJECT,
        "at": NOW,
        "principal": "alice",
        "principal_id": an_id("alice"),
        "action": "version.push",
        "facts": {"version": 1},
    }
    return Event(**facts | changes)


def a_chain(*events):
    entries, head = [], GENESIS
    for length, event in enumerate(events):
        entries.append(seal(event, length=length, head=head))
        head = entries[-1].hash
    return entries


def numbered(count):
    return a_chain(*(an_event(facts={"version": number}) for number in range(1, count + 1)))


def verification(entries, recorded):
    """Verify `entries` against the recorded end of the chain `recorded`."""
    head = recorded[-1].hash if recorded else GENESIS
    return verify(SUBJECT, entries, length=len(recorded), head=head)


def first_break(entries, recorded):
    return verification(entries, recorded).first_break


events = st.builds(
    Event,
    subject=st.just(SUBJECT),
    at=st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1)),  # noqa: DTZ001
    principal=NAMES,
    principal_id=st.uuids(),
    action=st.sampled_from(["version.push", "promotion.execute"]),
    facts=FACTS,
)
chains = st.lists(events, min_size=1, max_size=4).map(lambda found: a_chain(*found))


@given(chains)
def test_a_chain_as_sealed_verifies(entries):
    result = verification(entries, entries)

    assert (result.valid, result.first_break) == (True, None)
    assert (result.entries, result.head) == (len(entries), entries[-1].hash)


def test_an_empty_chain_verifies_and_ends_at_the_genesis_hash():
    result = verification([], [])

    assert (result.subject, result.valid, result.head) == (SUBJECT, True, GENESIS)


@given(chains)
def test_any_json_library_and_sha256_reproduce_the_hash(entries):
    previous = GENESIS
    for entry in entries:
        document = document_of(entry.event, sequence=entry.sequence, previous=previous)
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert entry.hash == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
        previous = entry.hash


def test_the_document_is_the_exported_line():
    event = an_event(at=datetime(2026, 3, 1, 13, 0, 0, 5, timezone(timedelta(hours=1))))

    assert document_of(event, sequence=7, previous=GENESIS) == {
        "subject": SUBJECT,
        "sequence": 7,
        "at": "2026-03-01T12:00:00.000005Z",
        "principal": "alice",
        "principal_id": str(an_id("alice")),
        "action": "version.push",
        "facts": {"version": 1},
        "previous": GENESIS,
    }


CHANGES = [
    pytest.param({"at": NOW + timedelta(microseconds=1)}, id="the-time"),
    pytest.param({"principal": "mallory"}, id="the-name"),
    pytest.param({"principal_id": an_id("mallory")}, id="the-principal"),
    pytest.param({"action": "version.revoke"}, id="the-action"),
    pytest.param({"facts": {"version": 9}}, id="a-fact"),
    pytest.param({"facts": {"version": "2"}}, id="the-type-of-a-fact"),
    pytest.param({"facts": {"version": True}}, id="a-number-to-a-boolean"),
    pytest.param({"facts": {}}, id="a-fact-taken-out"),
    pytest.param({"facts": {"version": 2, "more": None}}, id="a-fact-put-in"),
    pytest.param({"facts": {"version": 2.0}}, id="a-fact-to-a-float"),
    pytest.param({"facts": {"version": 2**53}}, id="a-fact-too-large-to-hash"),
    pytest.param({"facts": {"version": "\ud800"}}, id="a-fact-that-is-no-text"),
    pytest.param({"subject": "prefix:acme/other"}, id="the-subject"),
]


@pytest.mark.parametrize("changes", CHANGES)
def test_any_changed_field_of_an_event_breaks_the_chain_there(changes):
    sealed = numbered(3)
    entries = [*sealed]
    entries[1] = replace(sealed[1], event=replace(sealed[1].event, **changes))

    assert first_break(entries, sealed) == 2


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"sequence": 5}, id="the-number"),
        pytest.param({"previous": a_digest("other")}, id="the-link"),
        pytest.param({"hash": a_digest("other")}, id="the-hash"),
    ],
)
def test_any_changed_seal_breaks_the_chain_there(changes):
    sealed = numbered(3)
    entries = [*sealed]
    entries[1] = replace(sealed[1], **changes)

    assert first_break(entries, sealed) == 2


@given(entries=chains, data=st.data())
def test_a_changed_event_is_found_at_any_position(entries, data):
    at = data.draw(st.integers(0, len(entries) - 1))
    other = data.draw(events)
    assume(document_of(other, sequence=1, previous=GENESIS) != _document(entries[at].event))
    changed = [*entries]
    changed[at] = replace(entries[at], event=other)

    assert first_break(changed, entries) == at + 1


def _document(event):
    return document_of(event, sequence=1, previous=GENESIS)


@given(entries=chains, data=st.data())
def test_a_removed_entry_is_found_at_any_position(entries, data):
    at = data.draw(st.integers(0, len(entries) - 1))

    assert first_break(entries[:at] + entries[at + 1 :], entries) == at + 1


@given(entries=chains, data=st.data())
def test_a_truncated_chain_breaks_where_it_was_cut(entries, data):
    at = data.draw(st.integers(0, len(entries) - 1))

    assert first_break(entries[:at], entries) == at + 1


@given(entries=chains, data=st.data())
def test_an_inserted_entry_is_found_even_if_it_is_sealed(entries, data):
    at = data.draw(st.integers(0, len(entries)))
    head = entries[at - 1].hash if at else GENESIS
    inserted = seal(data.draw(events), length=at, head=head)
    assume(at == len(entries) or inserted != entries[at])

    result = first_break([*entries[:at], inserted, *entries[at:]], entries)

    # The inserted entry is sealed and therefore valid by itself; the entries after it are not.
    assert result == (at + 2 if at + 1 < len(entries) else at + 1)


@given(entries=chains, data=st.data())
def test_swapped_entries_are_found_at_the_first_of_them(entries, data):
    assume(len(entries) > 1)
    first, second = sorted(
        data.draw(st.sets(st.integers(0, len(entries) - 1), min_size=2, max_size=2))
    )
    swapped = [*entries]
    swapped[first], swapped[second] = entries[second], entries[first]

    assert first_break(swapped, entries) == first + 1


@given(entries=chains, data=st.data())
def test_a_chain_that_was_rewritten_and_sealed_again_does_not_reach_the_recorded_end(entries, data):
    at = data.draw(st.integers(0, len(entries) - 1))
    other = data.draw(events)
    assume(_document(other) != _document(entries[at].event))
    rewritten = [entry.event for entry in entries]
    rewritten[at] = other

    assert first_break(a_chain(*rewritten), entries) == len(entries)


def test_entries_beyond_the_recorded_end_were_not_sealed():
    assert first_break(numbered(4), numbered(2)) == 3
    assert first_break(numbered(2), []) == 1


def test_only_the_first_break_is_named():
    sealed = numbered(4)
    entries = [replace(entry, hash=a_digest(entry.sequence)) for entry in sealed]

    assert first_break([sealed[0], *entries[1:]], sealed) == 2


def test_the_chain_of_another_subject_does_not_verify():
    others = a_chain(an_event(subject="prefix:acme/other"))

    assert first_break(others, others) == 1


def test_a_recorded_end_without_entries_is_a_break():
    assert verify(SUBJECT, [], length=0, head=a_digest("other")).first_break == 1


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param({"mean": 0.5}, id="at-the-top"),
        pytest.param({"mean": 1.0}, id="a-whole-number"),
        pytest.param({"cells": [1, {"mean": 0.5}]}, id="deep-inside"),
        pytest.param({"cells": (1, 2.5)}, id="in-a-tuple"),
    ],
)
def test_a_float_is_refused_as_a_fact(facts):
    with pytest.raises(TypeError, match="write it as a string"):
        seal(an_event(facts=facts), length=0, head=GENESIS)


def test_every_prefix_has_its_own_chain():
    assert subject_of(PrefixName("acme", "brand-voice")) == SUBJECT


def test_entries_are_numbered_from_one():
    assert [entry.sequence for entry in numbered(3)] == [1, 2, 3]


@pytest.mark.parametrize(("spare", "fits"), [(0, True), (-1, False)], ids=["exactly", "more"])
def test_the_facts_of_an_entry_are_bounded(spare, fits):
    around = len('{"reason":""}')
    facts = {"reason": "x" * (MOST_FACTS_BYTES - around - spare)}
    with nullcontext() if fits else pytest.raises(TooLargeError, match="16,385 bytes"):
        require_bounded(facts)
