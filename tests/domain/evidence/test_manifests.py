"""Manifests: the lines that are refused, and the samples that a sealed suite fixes."""

import hashlib
import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from app.domain.evidence import manifests
from app.domain.evidence.manifests import ManifestReader
from app.domain.evidence.rows import LINE_LIMIT_BYTES
from app.domain.evidence.samples import read_samples
from tests.support.evidence import LOCALES, PERSONAS, a_key, a_suite

SUITE = a_suite(personas=("novice",), locales=("en",))
ONE_IN_EACH = [(persona, locale) for persona in PERSONAS for locale in LOCALES]


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def a_line(name="a", **changes):
    """Return the line of one sample of novice/en; a change to `...` leaves the field out."""
    row = {"id": name, "prompt_sha256": sha(str(name)), "persona": "novice", "locale": "en"}
    return json.dumps({k: v for k, v in (row | changes).items() if v is not ...}).encode()


def read(*lines, suite=SUITE):
    reader = ManifestReader(suite)
    for line in lines:
        reader.take(line)
        if reader.has_too_many_faults:
            break
    return reader.finish(), reader.faults


def faults(*lines, suite=SUITE):
    manifest, found = read(*lines, suite=suite)
    assert manifest is None
    return found


def codes(*lines, suite=SUITE):
    return [fault.code for fault in faults(*lines, suite=suite)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b"{", ["not-json"], id="no-json"),
        pytest.param(b"[]", ["not-json"], id="a-list"),
        pytest.param(b'{"id": "a", "id": "b"}', ["duplicate-key"], id="a-key-twice"),
        pytest.param(a_line("a" * LINE_LIMIT_BYTES), ["too-long"], id="too-long"),
        pytest.param(a_line(scores={}), ["unknown-field"], id="field"),
        pytest.param(a_line(id=...), ["text"], id="no-id"),
        pytest.param(a_line(id=""), ["text"], id="an-empty-id"),
        pytest.param(a_line(id=7), ["text"], id="a-number-as-id"),
        pytest.param(a_line(id="\ud800"), ["text"], id="half-a-surrogate-pair"),
        pytest.param(a_line(prompt_sha256=...), ["text"], id="no-prompt"),
        pytest.param(a_line(prompt_sha256=7), ["text"], id="a-number-as-prompt"),
        pytest.param(a_line(prompt_sha256="9f2c"), ["prompt"], id="a-short-prompt"),
        pytest.param(a_line(prompt_sha256="A" * 64), ["prompt"], id="upper-case"),
        pytest.param(a_line(prompt_sha256="a" * 64 + "\n"), ["prompt"], id="a-line-feed"),
        pytest.param(a_line(cluster=None), ["text"], id="null-as-cluster"),
        pytest.param(a_line(cluster=""), ["text"], id="an-empty-cluster"),
        pytest.param(a_line(persona="pirate"), ["unknown-persona"], id="persona"),
        pytest.param(a_line(persona=["novice"]), ["text"], id="a-list-as-persona"),
        pytest.param(a_line(locale="fr"), ["unknown-locale"], id="locale"),
        pytest.param(a_line(locale=...), ["text"], id="no-locale"),
        pytest.param(
            a_line("", prompt_sha256="p", persona="x", locale="fr", pronoun=1),
            ["unknown-field", "text", "prompt", "unknown-persona", "unknown-locale"],
            id="everything-at-once",
        ),
    ],
)
def test_a_line_that_is_no_sample_of_the_suite_is_refused(line, expected):
    assert codes(a_line("other"), line) == expected


def test_every_fault_names_its_line():
    found = faults(a_line(), b"\n", a_line("b", locale="fr"), b"{")
    assert [fault.message for fault in found] == [
        "Line 3: locale is 'fr'; brand-voice@3 has en.",
        "Line 4: It is not JSON in UTF-8.",
    ]


def test_reading_stops_after_twenty_faults():
    found = faults(*[b"{"] * 30)
    assert [fault.code for fault in found] == ["not-json"] * 20 + ["more"]
    assert found[-1].message == "Reading stopped at line 20."


def test_an_id_may_occur_only_once():
    found = faults(a_line("x"), a_line("a"), a_line("a", prompt_sha256=sha("b")))
    assert [(f.code, f.message) for f in found] == [
        ("repeated-sample", "The lines 2 and 3 have the same id.")
    ]


@pytest.mark.parametrize("other", [("expert", "en"), ("novice", "de")])
def test_a_prompt_may_be_in_one_cell_only(other):
    """Otherwise the answers of one persona would be evidence about another."""
    one = [a_line(f"{p}{c}", persona=p, locale=c) for p, c in ONE_IN_EACH]
    persona, locale = other
    copied = a_line("b", prompt_sha256=sha("noviceen"), persona=persona, locale=locale)
    (fault,) = faults(*one, copied, suite=a_suite())
    assert fault.code == "prompt-in-two-cells"
    assert fault.message.startswith("The lines 1 and 5 have the same prompt, for novice/en and for")


@pytest.mark.parametrize("other", [{}, {"cluster": "two"}], ids=["none", "another"])
def test_a_prompt_may_be_in_one_cluster_only(other):
    """Naming clusters apart may not turn one prompt into many independent samples."""
    (fault,) = faults(a_line(cluster="one"), a_line("b", prompt_sha256=sha("a"), **other))
    assert fault.code == "prompt-in-two-clusters"


def test_a_prompt_may_have_several_samples_in_one_cell():
    manifest, _ = read(a_line("a"), a_line("b", prompt_sha256=sha("a")))
    cell = manifest.cells["novice", "en"]
    assert (manifest.samples, len(set(cell.keys)), len(set(cell.clusters))) == (2, 2, 1)


def test_a_cluster_may_have_several_prompts():
    manifest, _ = read(a_line("a", cluster="c"), a_line("b", cluster="c"), a_line("c"))
    assert sorted(
        map(
            manifest.cells["novice", "en"].clusters.count,
            set(manifest.cells["novice", "en"].clusters),
        )
    ) == [1, 2]


@pytest.mark.parametrize("lines", [[], [b"\n", b"  "]], ids=["empty", "blank"])
def test_every_persona_and_locale_needs_a_sample(lines):
    found = faults(*lines, suite=a_suite())
    assert [fault.code for fault in found] == ["empty-cell"] * 4
    assert found[1].message == "There is no sample for novice/de."


def test_a_manifest_has_at_most_a_million_lines(monkeypatch):
    monkeypatch.setattr(manifests, "MOST_SAMPLES", 3)
    assert read(a_line("a"), a_line("b"), b"\n")[1] == []
    (fault,) = faults(a_line("a"), b"\n", b"\n", b"\n", b"{")
    assert fault.code == "too-large"


def test_samples_have_the_keys_and_clusters_of_rows():
    """A run of an open suite pairs with one of a sealed suite that has the same samples."""
    rows = [
        json.dumps(json.loads(a_line(name)) | {"scores": {"tone": 1}}).encode() for name in "abcd"
    ]
    samples, _ = read_samples(rows, SUITE)
    ours, (manifest, _) = samples.scores[a_key()], read(*map(a_line, "abcd"))
    cell = manifest.cells["novice", "en"]
    assert sorted(zip(ours.keys, ours.clusters, strict=True)) == list(
        zip(cell.keys, cell.clusters, strict=True)
    )


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(name=TEXTS, cluster=TEXTS)
def test_a_canonical_line_is_that_of_rfc_8785(name, cluster):
    line = a_line(name, cluster=cluster)
    taken = ManifestReader(SUITE).take(line)
    assert (taken.id, taken.text) == (name, rfc8785.dumps(json.loads(line)) + b"\n")


@given(order=st.permutations(list("abcdefgh")))
def test_the_order_of_lines_changes_nothing(order):
    first, _ = read(*map(a_line, "abcdefgh"))
    second, _ = read(*map(a_line, order))
    assert first == second
