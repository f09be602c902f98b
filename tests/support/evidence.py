"""Builders of a gate's inputs: suites, cells, samples, evaluations, rules, candidates."""

import hashlib
from array import array
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from app.domain.evidence.evaluation import Cell, CellKey, Evaluation, EvidenceKind, Scores
from app.domain.evidence.levels import Level
from app.domain.evidence.suites import Metric, MetricKind, Suite
from app.domain.governance.candidates import Candidate, Incumbent, VersionRef
from app.domain.governance.cells_v1 import References, rule_findings
from app.domain.governance.comparison_v1 import Reference
from app.domain.governance.gate import GATE, Context, GateResult, PolicyRef, decide
from app.domain.governance.policies import Approvals, Policy, Rule
from app.domain.naming import sha256_digest

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PERSONAS = ("novice", "expert")
LOCALES = ("en", "de")
ONE_CELL = {"personas": ("novice",), "locales": ("en",)}
TONE = Metric("tone", MetricKind.PROPORTION, higher_is_better=True)
TOXICITY = Metric("toxicity", MetricKind.PROPORTION, higher_is_better=False)
BLEU = Metric("bleu", MetricKind.MEAN, higher_is_better=True, minimum=0, maximum=100)
LATENCY = Metric("latency", MetricKind.MEAN, higher_is_better=False)


def an_id(name):
    """Return the id of a name; equal names have equal ids."""
    return uuid5(UUID(int=0), str(name))


def a_digest(name):
    return sha256_digest(str(name).encode())


AUTHOR, OWNER, REQUESTER, EVALUATOR = map(an_id, ("author", "owner", "requester", "evaluator"))


def a_suite(**changes):
    facts = {
        "name": "brand-voice",
        "version": "3",
        "dataset_digest": a_digest("dataset"),
        "personas": PERSONAS,
        "locales": LOCALES,
        "metrics": (TONE, TOXICITY, BLEU, LATENCY),
    }
    return Suite(**facts | changes)


def a_key(metric="tone", persona="novice", locale="en"):
    return CellKey(metric, persona, locale)


def every_key(metric="tone"):
    return [CellKey(metric, persona, locale) for persona in PERSONAS for locale in LOCALES]


def a_cell(mean=0.95, samples=200, stderr=None):
    return Cell(samples, mean, stderr)


def an_evaluation(name="first", *, cells=None, **changes):
    """Return a complete, recent evaluation whose cells for tone are all good.

    Args:
        name: Determines the id and digest.
        cells: Replaces the cells; a single Cell is used for every cell of tone.
        changes: Fields of the evaluation.
    """
    if not isinstance(cells, dict):
        cells = dict.fromkeys(every_key(), cells or a_cell())
    facts = {
        "id": an_id(name),
        "digest": a_digest(name),
        "suite": a_suite(),
        "kind": EvidenceKind.SAMPLES,
        "level": Level.RECOMPUTED,
        "partial": False,
        "evaluator_id": EVALUATOR,
        "scope": "*",
        "finished_at": NOW - timedelta(days=1),
        "recorded_at": NOW - timedelta(hours=23),
        "cells": cells,
    }
    return Evaluation(**facts | changes)


def scores(values, names=None, clusters=None):
    """Return one score per sample; equal names pair, and the default names are 0, 1, ..."""
    values = [float(value) for value in values]
    names = range(len(values)) if names is None else names
    keys = [
        int.from_bytes(hashlib.sha256(str(name).encode()).digest()[:8], "big") for name in names
    ]
    return Scores(array("Q", keys), array("d", values), array("Q", clusters or keys))


def shares(successes, samples=100):
    """Return the scores of a proportion: successes first, then failures."""
    return [1] * successes + [0] * (samples - successes)


def a_scored_evaluation(name="first", values=(1,) * 100, *, key=None, names=None, **changes):
    """Return an evaluation with the samples of one cell: tone for novice/en by default."""
    key, column = key or a_key(), scores(values, names)
    facts = {"cells": {key: column.cell()}, "scores": {key: column}}
    return an_evaluation(name, **facts | changes)


def a_reference(*evaluations, demand="incumbent", name="version 1"):
    return Reference(demand, name, evaluations)


def the_base(*evaluations):
    return a_reference(*evaluations, demand="base", name="base model tiny")


def a_rule(metric="tone", **changes):
    """Return a completed rule; by default it requires at least 0.85 on 100 samples."""
    facts = {
        "suite_version": "3",
        "personas": PERSONAS,
        "locales": LOCALES,
        "min_samples": 100,
        "at_least": 0.85,
    }
    return Rule(f"brand-voice/{metric}", **facts | changes)


def a_policy_of(*rules, **changes):
    return Policy("brand-safe", **{"approvals": Approvals(), "rules": rules} | changes)


def a_version(number=2):
    return VersionRef(number, a_digest(f"version {number}"))


def a_candidate(*evaluations, **changes):
    """Return version 2, a small prefix with an empty card, with these evaluations."""
    facts = {
        "ref": a_version(),
        "content": a_digest("content 2"),
        "peft_type": "PREFIX_TUNING",
        "virtual_tokens": 20,
        "parameter_fraction": 0.0004,
        "card": {},
        "namespace": "acme",
        "authors": frozenset({AUTHOR}),
        "owner_id": OWNER,
        "evaluations": evaluations,
        "base_model": "tiny",
    }
    return Candidate(**facts | changes)


def an_incumbent(*evaluations, number=1):
    return Incumbent(a_version(number), a_digest(f"content {number}"), evaluations)


def the_decision(policy, *candidates, incumbent=None, now=NOW, verifier=GATE):
    ref = PolicyRef(policy.name, 1, a_digest("policy"))
    compared = [] if incumbent is None else [incumbent]
    return decide(policy, ref, candidates, Context(incumbent, compared), now, verifier)


def passes(policy, *evaluations, **candidate):
    """Whether a candidate with this evidence passes the gate."""
    return the_decision(policy, a_candidate(*evaluations, **candidate)).result is GateResult.PASSED


def the_findings(rule, *evaluations, incumbent=None, base=None, disqualified=None):
    """Return the findings on version 2; `disqualified` gives the reason by evaluation id."""
    reasons = disqualified or {}
    return list(
        rule_findings(
            rule,
            evaluations,
            version=2,
            references=References(incumbent, base or the_base()),
            disqualify=lambda evaluation: reasons.get(evaluation.id),
        )
    )


def the_finding(cell, metric="tone", **rule):
    """Return the one finding about a single measured cell."""
    evaluation = an_evaluation(cells={a_key(metric): cell})
    (finding,) = the_findings(a_rule(metric, **ONE_CELL | rule), evaluation)
    return finding
