"""Replay: recomputing a promotion's decision from its stored inputs, and comparing the two."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.evaluations import by_subject, evaluations_named
from app.db.models import Channel, EvaluationRow, PolicyRow, Promotion, Version
from app.db.policies import policy_of, policy_versioned
from app.db.promotions import DECISION, decision_document
from app.db.session import Sessions
from app.db.versions import versions_numbered
from app.domain.governance.candidates import VersionRef
from app.domain.governance.gate import GATE_V1, Decision
from app.domain.governance.policies import compared_metrics, tested_metrics
from app.domain.governance.replay import differences
from app.domain.identity.access import Caller
from app.domain.naming import canonical_digest
from app.services.audit.sample_recheck import contradictions, recorded_samples
from app.services.evidence.submissions import digest_of
from app.services.governance.gate_inputs import Evidence, Incumbents, decide_on, inputs_of
from app.services.identity.visibility import visible_promotion
from app.storage.blobs import Blobs

_MOST_DIFFERENCES: Final = 100


@dataclass(frozen=True, slots=True)
class Replay:
    """A promotion's stored decision, the recomputed one, and the differences."""

    promotion: Promotion
    stored: Mapping[str, Any]
    again: Mapping[str, Any] | None
    differences: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        return not self.differences


def replay(
    sessions: Sessions, *, promotion_id: UUID, blobs: Blobs | None = None, caller: Caller
) -> Replay:
    """Recompute a decision from the policy, versions and evaluations that it names.

    Each input is compared with the digest that the decision recorded; missing and differing
    inputs are reported. With `blobs`, evaluations that contradict their own stored samples are
    reported as well.

    Raises:
        NotFoundError: The promotion does not exist, or is not visible to the caller.
    """
    with sessions() as session:
        promotion = visible_promotion(session, caller, promotion_id)
        stored = DECISION.validate_python(promotion.decision)
        inputs = _inputs(session, promotion, stored)
        found = list(_input_faults(inputs, stored))
        samples = recorded_samples(inputs.evaluations)
        decided = _decided(session, inputs, stored)
    if blobs is not None:
        for recorded in samples:
            found += contradictions(sessions, blobs, recorded)
    again = None if decided is None else decision_document(decided)
    if again is not None:
        found += differences(promotion.decision, again)
    return Replay(promotion, promotion.decision, again, tuple(found[:_MOST_DIFFERENCES]))


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The inputs of a decision that still exist; versions are keyed by number."""

    channel: Channel
    policy: PolicyRow | None
    versions: Mapping[int, Version]
    evaluations: Sequence[EvaluationRow]


def _refs(stored: Decision) -> list[VersionRef]:
    """Return every version that the decision names, each once."""
    incumbent = [stored.incumbent] if stored.incumbent else []
    return list(dict.fromkeys([*stored.candidates, *incumbent, *stored.incumbents]))


def _inputs(session: Session, promotion: Promotion, stored: Decision) -> _Inputs:
    prefix = promotion.channel.prefix.full_name
    return _Inputs(
        channel=promotion.channel,
        policy=policy_versioned(session, stored.policy.name, stored.policy.version),
        versions=versions_numbered(session, prefix, [ref.number for ref in _refs(stored)]),
        evaluations=evaluations_named(session, [ref.id for ref in stored.evaluations]),
    )


def _input_faults(inputs: _Inputs, stored: Decision) -> Iterator[str]:
    if inputs.policy is None:
        yield f"The policy {stored.policy.name} version {stored.policy.version} is missing."
    elif canonical_digest(inputs.policy.document) != stored.policy.digest:
        yield f"The text of policy {stored.policy.name} has changed since the decision."
    for ref in _refs(stored):
        version = inputs.versions.get(ref.number)
        if version is None:
            yield f"Version {ref.number} is missing."
        elif version.digest != ref.digest:
            yield f"Version {ref.number} had digest {ref.digest}; now it has {version.digest}."
    rows = {row.id: row for row in inputs.evaluations}
    for used in stored.evaluations:
        row = rows.get(used.id)
        if row is None:
            yield f"The evaluation {used.id} is missing."
        elif digest_of(row, _artifact(row), row.suite.digest) != used.digest:
            yield f"The evaluation {used.id} no longer has the digest {used.digest}."


def _artifact(row: EvaluationRow) -> str:
    evaluated = row.version or row.base_model
    return "" if evaluated is None else evaluated.digest


def _decided(session: Session, inputs: _Inputs, stored: Decision) -> Decision | None:
    """Recompute the decision, unless the policy or a version is missing."""
    policy, versions = inputs.policy, inputs.versions
    if policy is None or any(ref.number not in versions for ref in _refs(stored)):
        return None
    document = policy_of(policy)
    # Version 1 of the verifier used the samples of comparisons only.
    is_first = stored.verifier == GATE_V1
    metrics = compared_metrics(document) if is_first else tested_metrics(document)
    of_contents = [row for row in inputs.evaluations if row.content is not None]
    of_bases = [row for row in inputs.evaluations if row.base_model_id is not None]
    evidence = Evidence(
        by_subject(session, of_contents, EvaluationRow.content, metrics),
        by_subject(session, of_bases, EvaluationRow.base_model_id, metrics),
    )
    incumbents = Incumbents(
        None if stored.incumbent is None else versions[stored.incumbent.number],
        [versions[ref.number] for ref in stored.incumbents],
    )
    found = inputs_of(
        session,
        inputs.channel,
        document,
        [versions[ref.number] for ref in stored.candidates],
        incumbents,
        evidence,
        stored.evaluated_at,
    )
    return decide_on(policy, found, stored.evaluated_at, stored.verifier)
