"""Samples of a sealed suite: each is accounted for, and a missing one is the worst."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.evidence.manifests import ManifestReader
from app.domain.evidence.samples import read_samples
from tests.domain.evidence.test_manifests import a_line
from tests.support.evidence import BLEU, TONE, TOXICITY, a_key, a_suite

SUITE = a_suite(metrics=(TONE, TOXICITY, BLEU), sealed=True)
CELLS = [("novice", "en"), ("novice", "de"), ("expert", "en"), ("expert", "de")]
LINES = [
    a_line(f"{persona}-{locale}-{n}", persona=persona, locale=locale, cluster=f"c{n // 2}")
    for persona, locale in CELLS
    for n in range(4)
]


def the_manifest(lines=LINES):
    reader = ManifestReader(SUITE)
    for line in lines:
        reader.take(line)
    return reader.finish()


MANIFEST = the_manifest()
BEST = {"tone": 1, "toxicity": 0, "bleu": 100}


def a_row(line, scores=None, **changes):
    """Return the row of a sample of the manifest, with the best scores by default."""
    row = {k: v for k, v in json.loads(line).items() if k != "cluster"}
    return json.dumps(row | {"scores": BEST if scores is None else scores} | changes).encode()


ALL = [a_row(line) for line in LINES]


def read(rows):
    samples, faults = read_samples(rows, SUITE, manifest=MANIFEST)
    assert faults == ()
    return samples


def faults(*rows):
    samples, found = read_samples(rows, SUITE, manifest=MANIFEST)
    assert samples is None
    return found


def means(samples):
    return {result.key: result.cell.mean for result in samples.results()}


def test_a_complete_run_misses_nothing():
    samples = read(ALL)
    assert set(samples.missing.values()) == {0}
    assert len(samples.scores) == 12
    assert {result.cell.samples for result in samples.results()} == {4}


def test_a_missing_sample_is_the_worst_value_of_every_metric():
    """Leaving out the rows that lost changes nothing."""
    samples = read(ALL[1:])
    found = means(samples)
    assert [found[a_key(name)] for name in ("tone", "toxicity", "bleu")] == [0.75, 0.25, 75.0]
    assert {key: n for key, n in samples.missing.items() if n} == {
        a_key("tone"): 1,
        a_key("toxicity"): 1,
        a_key("bleu"): 1,
    }


@pytest.mark.parametrize("scores", [{"toxicity": 0, "bleu": 100}, BEST | {"tone": None}])
def test_a_missing_score_is_the_worst_value_of_its_metric(scores):
    samples = read([a_row(LINES[0], scores), *ALL[1:]])
    assert means(samples)[a_key()] == 0.75
    assert means(samples)[a_key("bleu")] == 100
    assert samples.missing[a_key()] == 1


def test_a_cell_without_any_row_has_the_worst_value():
    samples = read(ALL[:12])
    assert means(samples)[a_key("bleu", "expert", "de")] == 0
    assert samples.missing[a_key("bleu", "expert", "de")] == 4


def test_clusters_are_those_of_the_manifest():
    column = read(ALL).scores[a_key()]
    assert sorted(map(column.clusters.count, set(column.clusters))) == [2, 2]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"id": "another"}, id="another-id"),
        pytest.param({"prompt_sha256": "a" * 64}, id="another-prompt"),
        pytest.param({"prompt_sha256": None}, id="no-prompt"),
        pytest.param({"persona": "expert"}, id="another-persona"),
        pytest.param({"locale": "de"}, id="another-locale"),
    ],
)
def test_a_row_that_is_no_sample_of_the_manifest_is_refused(changes):
    (fault,) = faults(*ALL[1:], a_row(LINES[0], **changes))
    assert fault.code == "not-in-manifest"
    assert fault.message.startswith("Line 16: The manifest has no sample ")


def test_a_fault_says_where_the_sample_belongs():
    (fault,) = faults(a_row(LINES[0], persona="expert"))
    assert fault.message.endswith(" for expert/en; it is one of novice/en.")


def test_a_sample_may_be_reported_only_once():
    assert [fault.code for fault in faults(*ALL, ALL[3])] == ["duplicate-sample"]


def test_a_row_with_other_faults_is_not_looked_up():
    found = faults(a_row(LINES[0], id="another", persona="pirate"))
    assert [fault.code for fault in found] == ["unknown-persona"]


@pytest.mark.parametrize("rows", [[], [a_row(LINES[0], {})]], ids=["none", "unscored"])
def test_a_run_without_a_score_is_refused(rows):
    assert [fault.code for fault in faults(*rows)] == ["no-samples"]


@pytest.mark.parametrize("name", ["tone", "toxicity", "bleu"])
@given(left_out=st.sets(st.integers(0, 15), max_size=15))
def test_leaving_rows_out_never_helps(name, left_out):
    worst = SUITE.metric(name).worst
    rows = [
        a_row(line, BEST | {name: worst if n % 3 else BEST[name]}) for n, line in enumerate(LINES)
    ]
    whole = means(read(rows))
    fewer = means(read([row for n, row in enumerate(rows) if n not in left_out]))
    sign = {metric.name: 1 if metric.higher_is_better else -1 for metric in SUITE.metrics}
    assert all(sign[key.metric] * (whole[key] - fewer[key]) >= 0 for key in whole)


@given(order=st.permutations(ALL))
def test_the_order_of_rows_changes_nothing(order):
    assert read(order) == read(ALL)


def test_a_response_must_be_a_digest():
    assert [f.code for f in faults(a_row(LINES[0], response_sha256="9f2c"))] == ["response"]
    assert read([a_row(LINES[0], response_sha256="a" * 64)])
    assert read([a_row(LINES[0], response_sha256=None)])


def test_the_worst_value_is_the_end_of_the_range_that_the_direction_says():
    assert [TONE.worst, TOXICITY.worst, BLEU.worst] == [0, 1, 0]
    assert replace(BLEU, higher_is_better=False).worst == 100
