"""A gate decision as heatmaps: one table of personas by locales for each rule."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from app.db.score_history import Run
from app.domain.evidence.evaluation import CellKey
from app.domain.governance.findings import Finding, Outcome
from app.domain.governance.gate import Decision, EvidenceRole
from app.pages.presentation import formatting

_SIGNS: Final = {
    Outcome.PASSED: "✓",
    Outcome.FAILED: "✗",
    Outcome.MISSING: "∅",
    Outcome.NOT_APPLICABLE: "–",
}
_WORDS: Final = {
    Outcome.PASSED: "passes",
    Outcome.FAILED: "fails",
    Outcome.MISSING: "is missing",
    Outcome.NOT_APPLICABLE: "does not apply",
}
_WORST_FIRST: Final = (
    Outcome.FAILED,
    Outcome.MISSING,
    Outcome.PASSED,
    Outcome.NOT_APPLICABLE,
)
# Share of the distance between limit and ideal; a bound nearer to the limit is a close result.
_CLEAR: Final = 0.25

_DEMANDS: Final = {
    "samples": "at least {:g} samples",
    "at_least": "at least {:g}",
    "at_most": "at most {:g}",
    "incumbent": "no worse than the incumbent by more than {:g}",
    "base": "no worse than the base model by more than {:g}",
}


@dataclass(frozen=True, slots=True)
class CellView:
    """One persona x locale of a rule, with the findings on all its requirements."""

    persona: str
    locale: str
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Outcome:
        outcomes = {finding.outcome for finding in self.findings}
        return next(each for each in _WORST_FIRST if each in outcomes)

    @property
    def sign(self) -> str:
        return _SIGNS[self.outcome]

    @property
    def word(self) -> str:
        return _WORDS[self.outcome]

    @property
    def limit(self) -> Finding:
        """The finding whose number the cell shows: the limit's, or the first comparison's."""
        limits = [each for each in self.findings if each.demand not in ("incumbent", "base")]
        return (limits or list(self.findings))[0]

    @property
    def shade(self) -> str:
        """`close` if the bound is near the required value, otherwise `clear`."""
        bound, demanded = self.limit.bound, self.limit.demanded
        if bound is None or demanded is None:
            return "clear"
        ideal = 1.0 if self.limit.demand == "at_least" else 0.0
        room = abs(ideal - demanded) or 1.0
        return "clear" if abs(bound - demanded) >= _CLEAR * room else "close"


@dataclass(slots=True)
class RuleView:
    """One rule on one version: a table of cells, and the findings that block it."""

    rule: str
    version: int
    personas: list[str] = field(default_factory=list)
    locales: list[str] = field(default_factory=list)
    cells: dict[tuple[str, str], CellView] = field(default_factory=dict)
    without_cell: list[Finding] = field(default_factory=list)

    @property
    def demands(self) -> list[str]:
        """The rule's requirements of a cell, in words, without duplicates."""
        found: dict[str, None] = {}
        for cell in self.cells.values():
            for finding in cell.findings:
                found[demand_words(finding)] = None
        return list(found)

    @property
    def passing(self) -> int:
        blocking = [any(each.blocks for each in cell.findings) for cell in self.cells.values()]
        return len(blocking) - sum(blocking)

    @property
    def blocking(self) -> list[Finding]:
        """The findings that block the rule; an unmeasured cell counts once, not per requirement."""
        found = list(self.without_cell)
        for cell in self.cells.values():
            blocking = [each for each in cell.findings if each.blocks]
            found += blocking[:1] if cell.outcome is Outcome.MISSING else blocking
        return [finding for finding in found if finding.blocks]


def demand_words(finding: Finding) -> str:
    value = finding.margin if finding.demand in ("incumbent", "base") else finding.demanded
    pattern = _DEMANDS.get(finding.demand or "", "")
    return pattern.format(0.0 if value is None else value)


def rule_views(findings: Iterable[Finding]) -> list[RuleView]:
    """Return the rules on cells, in the policy's order."""
    views: dict[tuple[str, int], RuleView] = {}
    for finding in findings:
        if finding.demand == "fact" or finding.outcome is Outcome.NOTICE:
            continue
        key = (finding.rule, finding.version)
        view = views.setdefault(key, RuleView(finding.rule, finding.version))
        if finding.cell is None:
            view.without_cell.append(finding)
            continue
        persona, locale = finding.cell.persona, finding.cell.locale
        view.personas += [persona] if persona not in view.personas else []
        view.locales += [locale] if locale not in view.locales else []
        earlier = view.cells.get((persona, locale))
        findings_before = earlier.findings if earlier is not None else ()
        view.cells[persona, locale] = CellView(persona, locale, (*findings_before, finding))
    return list(views.values())


def artifact_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings on the artifact and its card."""
    return [finding for finding in findings if finding.demand == "fact"]


def notices(findings: Iterable[Finding]) -> list[str]:
    """Return what reviewers should know beside the demands, each sentence once."""
    found = (each.message for each in findings if each.outcome is Outcome.NOTICE)
    return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Whisker:
    """A difference and its one-sided interval, scaled to an axis of 0 to 100 with zero at 50."""

    point: float
    start: float
    end: float
    margin: float


@dataclass(frozen=True, slots=True)
class Compared:
    """One cell compared with a reference: both means, and the paired difference with its bound."""

    cell: CellView
    finding: Finding
    candidate: str
    reference: str
    whisker: Whisker | None


def comparisons(
    view: RuleView, demand: str, decision: Decision, runs: Mapping[UUID, Run]
) -> list[Compared]:
    """Return the rule's comparisons with `incumbent` or `base`, cell by cell."""
    own = _means(view.rule, EvidenceRole.CANDIDATE, decision, runs)
    other = _means(view.rule, EvidenceRole(demand), decision, runs)
    return [
        Compared(
            cell=cell,
            finding=finding,
            candidate=_mean_or_range(own.get((cell.persona, cell.locale))),
            reference=_mean_or_range(other.get((cell.persona, cell.locale))),
            whisker=_whisker(finding),
        )
        for cell in view.cells.values()
        for finding in cell.findings
        if finding.demand == demand
    ]


def _means(
    rule: str, of: EvidenceRole, decision: Decision, runs: Mapping[UUID, Run]
) -> dict[tuple[str, str], list[float]]:
    suite, _, metric = rule.rpartition("/")
    found: dict[tuple[str, str], list[float]] = {}
    for ref in decision.evaluations:
        run = runs.get(ref.id)
        if ref.of is not of or run is None or run.suite != suite:
            continue
        for key, mean in run.cells.items():
            if key.metric == metric:
                found.setdefault((key.persona, key.locale), []).append(mean)
    return found


def _mean_or_range(means: Sequence[float] | None) -> str:
    """Return one mean, or the range of the means of several runs."""
    if not means:
        return "–"
    low, high = formatting.number(min(means)), formatting.number(max(means))
    return low if low == high else f"{low} … {high}"


def _whisker(finding: Finding) -> Whisker | None:
    observed, bound, demanded = finding.observed, finding.bound, finding.demanded
    if observed is None or bound is None or demanded is None:
        return None
    reach = 1.25 * max(abs(observed), abs(bound), abs(demanded), 1e-9)

    def at(value: float) -> float:
        return round(50 + 50 * value / reach, 1)

    low, high = (at(bound), 100.0) if bound <= observed else (0.0, at(bound))
    return Whisker(at(observed), low, high, at(demanded))


def missing_keys(view: RuleView) -> list[CellKey]:
    """Return the unmeasured cells of a rule."""
    metric = view.rule.rpartition("/")[2]
    return [
        CellKey(metric, cell.persona, cell.locale)
        for cell in view.cells.values()
        if cell.outcome is Outcome.MISSING
    ]
