"""The generated model card of a version: README.md from the registry's records."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml
from sqlalchemy.orm import Session

from app.db.channels import channels_serving
from app.db.evaluations import recent_evaluations
from app.db.models import EvaluationRow, Promotion, Version
from app.db.promotions import executed_with
from app.domain.identity.access import Caller

_ROWS = 60
_COLUMNS = (
    *("suite", "metric", "persona", "locale", "samples", "missing", "mean", "finished"),
    *("level", "state"),
)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The content of a card; fields that the caller may not see are None."""

    version: Version
    channels: Sequence[str]
    evaluations: Sequence[EvaluationRow] | None
    promotions: Sequence[Promotion] | None


def card_of(session: Session, version: Version, caller: Caller) -> ModelCard:
    """Read the content of a version's card for a caller, in a constant number of queries.

    Readers see neither the evidence nor the approvals.
    """
    channels = channels_serving(session, [version.id]).get(version.id, [])
    can_see_unreleased = caller.can_see_unreleased(version.prefix.namespace)
    return ModelCard(
        version=version,
        channels=[name for name in channels if caller.can_see_channel(name)],
        evaluations=recent_evaluations(session, version, caller) if can_see_unreleased else None,
        promotions=executed_with(session, version) if can_see_unreleased else None,
    )


def readme(card: ModelCard) -> str:
    """Return README.md: front matter for the Hub's tools, then the facts for people."""
    version = card.version
    front = yaml.safe_dump(_front_matter(version), sort_keys=False, allow_unicode=True)
    lines = [
        f"# {version.prefix.full_name}, version {version.number}",
        "",
        _escaped(version.prefix.description) or "A prefix-tuning artifact.",
        "",
        *_facts(card),
        *_declared(version),
        *([] if card.evaluations is None else _evaluations(card.evaluations)),
        *([] if card.promotions is None else _approvals(card.promotions)),
    ]
    return f"---\n{front}---\n\n" + "\n".join(lines) + "\n"


def _front_matter(version: Version) -> dict[str, object]:
    front: dict[str, object] = {
        "library_name": "peft",
        "base_model": version.base_model.name,
        "base_digest": version.base_model.digest,
        "tags": sorted({"prefix-tuning", version.peft_type.lower().replace("_", "-")}),
    }
    licence = version.card.get("licence")
    return front | ({"license": licence} if licence else {})


def _facts(card: ModelCard) -> Iterator[str]:
    version, base = card.version, card.version.base_model
    rows = {
        "Digest": f"`{version.digest}`",
        "Revision": f"`{version.revision}`",
        "Base model": f"{_escaped(base.name)}, `{base.digest}`",
        "Type": f"{version.peft_type}, {version.virtual_tokens} virtual tokens, {version.dtype}",
        "Parameters": f"{version.parameters:,} ({version.parameter_fraction:.4%} of the base)",
        "Channels now": ", ".join(card.channels) or "none",
        "Owner": _escaped(version.prefix.owner.name),
        "Pushed": f"{version.created_at:%Y-%m-%d %H:%M} UTC by {_escaped(version.created_by.name)}",
    }
    yield from ("## Facts", "", "| | |", "| --- | --- |")
    yield from (f"| {name} | {value} |" for name, value in rows.items())
    yield ""


def _declared(version: Version) -> Iterator[str]:
    yield from ("## Declared by the author", "")
    declared = {name: value for name, value in version.card.items() if value}
    if not declared:
        yield from ("Nothing.", "")
        return
    for name, value in declared.items():
        words = name.replace("_", " ").capitalize()
        yield f"- **{words}**: {_escaped(_listed(value))}"
    yield ""


def _listed(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(_listed(item) for item in value)
    return str(value.get("name", value)) if isinstance(value, dict) else str(value)


def _evaluations(evaluations: Sequence[EvaluationRow]) -> Iterator[str]:
    yield from ("## Evaluations", "")
    if not evaluations:
        yield from ("None are recorded.", "")
        return
    yield f"| {' | '.join(_COLUMNS)} |"
    yield f"| {' | '.join(['---'] * len(_COLUMNS))} |"
    rows = [(evaluation, cell) for evaluation in evaluations for cell in evaluation.cells]
    for run, cell in rows[:_ROWS]:
        state = "void" if run.voided else "partial" if run.partial else run.kind.value
        cells = (
            f"{run.suite.name}@{run.suite.version}",
            *(cell.metric, cell.persona, cell.locale),
            *(str(cell.samples), str(cell.missing), f"{cell.mean:.4g}"),
            *(f"{run.finished_at:%Y-%m-%d}", str(run.evidence_level), state),
        )
        yield f"| {' | '.join(_escaped(text) for text in cells)} |"
    if len(rows) > _ROWS:
        yield from ("", f"{len(rows) - _ROWS} more are in the registry.")
    yield ""


def _approvals(promotions: Sequence[Promotion]) -> Iterator[str]:
    yield from ("## Approvals", "")
    if not promotions:
        yield "It was never released."
    for promotion in promotions:
        names = [_escaped(r.reviewer.name) for r in promotion.reviews if r.verdict == "approve"]
        how = "by break-glass" if promotion.break_glass else f"approved by {', '.join(names)}"
        when = f"{promotion.closed_at:%Y-%m-%d %H:%M} UTC"
        yield f"- {promotion.channel.name}, {when}: {how or 'without approvals'}"


def _escaped(text: str) -> str:
    """Escape untrusted text for Markdown and HTML, on one line."""
    one_line = " ".join(text.split())
    return "".join(f"&#{ord(mark)};" if mark in "<>&|`*_[]()\\#!" else mark for mark in one_line)
