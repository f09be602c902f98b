"""Comparisons of a candidate with a reference."""

from datetime import timedelta

from app.domain.evidence.evaluation import Evaluation
from app.domain.governance.comparison_v1 import Margin, Reference, compare
from app.domain.governance.findings import CellRef, Finding, Outcome
from tests.support.evidence import a_key, a_reference, a_scored_evaluation

PASSED, FAILED = Outcome.PASSED, Outcome.FAILED
BLANK = Finding("brand-voice/tone", 2, Outcome.MISSING, "", cell=CellRef("novice", "en"))
DAY = timedelta(days=1)


def compared(candidate, reference, *, metric="tone", margin=0.05, confidence=0.95, least=1):
    """Return the finding on two evaluations, given as such or as values of paired samples."""
    key = a_key(metric)
    if not isinstance(candidate, Evaluation):
        candidate = a_scored_evaluation("ours", candidate, key=key)
    if not isinstance(reference, Reference):
        reference = a_reference(a_scored_evaluation("theirs", reference, key=key))
    return compare(Margin(margin, confidence, least), key, BLANK, candidate, reference)


def pairs_of(both, only_candidate, only_reference, neither):
    """Return the scores of two systems with these counts of paired successes and failures."""
    ours = [1] * (both + only_candidate) + [0] * (only_reference + neither)
    theirs = [1] * both + [0] * only_candidate + [1] * only_reference + [0] * neither
    return ours, theirs
