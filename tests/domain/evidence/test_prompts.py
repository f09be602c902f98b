"""Prompts of open suites: a prompt under two personas or locales is refused, with both names."""

import json

import pytest

from app.domain.evidence.prompts import prompt_faults, prompts_in_two_cells
from app.domain.evidence.samples import read_samples
from tests.support.evidence import a_suite


def a_row(name, prompt, persona="novice", locale="en", scores=None):
    row = {"id": name, "persona": persona, "locale": locale, "prompt_sha256": prompt}
    return json.dumps(row | {"scores": scores or {"tone": 1}}).encode()


def faults(*rows):
    samples, found = read_samples(rows, a_suite())
    assert found == ()
    shared = prompts_in_two_cells(samples)
    return list(prompt_faults(rows, shared)) if shared else []


def test_a_prompt_may_have_several_samples_in_one_cell():
    assert faults(a_row("a", "p"), a_row("b", "p"), a_row("c", "q", "expert")) == []


def test_samples_without_a_prompt_are_not_compared():
    assert faults(a_row("a", None), a_row("b", None, "expert"), a_row("c", "", locale="de")) == []


@pytest.mark.parametrize(("persona", "locale"), [("expert", "en"), ("novice", "de")])
def test_a_prompt_in_two_cells_is_a_fault_that_names_both_samples(persona, locale):
    rows = [a_row("a", "p"), b"\n", a_row("n", None), a_row("b", "p", persona, locale)]
    (fault,) = faults(*rows, a_row("c", "p", persona, locale), a_row("d", "p"))
    assert fault.code == "prompt-in-two-cells"
    assert fault.message == (
        f"The samples 'a' of novice/en and 'b' of {persona}/{locale} have the same prompt_sha256. "
        "Hash the whole input, with the persona's system prompt, or seal the suite."
    )


def test_it_does_not_matter_which_metric_a_sample_scores():
    other = a_row("b", "p", "expert", scores={"toxicity": 0})
    assert len(faults(a_row("a", "p"), a_row("c", "p"), other)) == 1


def test_only_the_first_faults_are_reported():
    rows = [a_row(f"{p}{n}", f"{n}", p) for p in ("novice", "expert") for n in range(30)]
    assert len(faults(*rows)) == 20
