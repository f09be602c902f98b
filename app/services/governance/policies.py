"""Creating policies, and planning the evidence they take."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy.orm import Session

from app.db import audit
from app.db.evaluations import latest_suite, suite_of, suite_versioned
from app.db.models import PolicyRow
from app.db.policies import latest_policy, policy_document
from app.db.session import Sessions, expect
from app.domain.audit.chain import REGISTRY, Facts, audit_event
from app.domain.errors import Fault, InvalidPolicyError
from app.domain.evidence.suites import Metric, Suite
from app.domain.governance.plans import Assumptions, Plan, rule_plans
from app.domain.governance.policies import Policy, Rule, completed, policy_faults, rule_faults
from app.domain.identity.access import EVERYWHERE, Caller, Role
from app.domain.naming import canonical_digest


def create(
    sessions: Sessions, *, policy: Policy, caller: Caller, now: datetime
) -> tuple[PolicyRow, bool]:
    """Create the next version of a policy; say whether its text is new.

    What a rule leaves open is filled in from the suite's latest version, so that the stored
    document says all it demands: every persona, every locale, the fewest samples that can pass.

    Raises:
        ForbiddenError: The caller is no admin of the whole registry.
        InvalidPolicyError: It contradicts a suite or itself, or no evidence could satisfy it.
    """
    caller.require_in(Role.ADMIN, EVERYWHERE)
    with sessions.begin() as session:
        audit.lock_chain(session, REGISTRY)
        whole = _completed(policy, _suites(session, policy))
        document = policy_document(whole)
        digest = canonical_digest(document)
        latest = latest_policy(session, policy.name)
        if latest is not None and latest.digest == digest:
            return latest, False
        number = 1 if latest is None else latest.version + 1
        row = PolicyRow(policy.name, number, document, digest, now, caller.id)
        session.add(row)
        facts: Facts = {"policy": policy.name, "version": number, "digest": digest}
        audit.append(session, audit_event(REGISTRY, "policy.create", facts, caller=caller, now=now))
        return expect(latest_policy(session, policy.name)), True


def plan(
    sessions: Sessions, *, policy: Policy, assumed: Callable[[str], Assumptions], caller: Caller
) -> list[Plan]:
    """Return how many samples each demand of a policy takes; nothing is kept.

    Args:
        sessions: Where the suites are.
        policy: What is thought of.
        assumed: What is taken to be true of a metric, `suite/metric`.
        caller: Whoever works on prefixes.

    Raises:
        ForbiddenError: The caller neither publishes, evaluates, approves nor administers.
        InvalidPolicyError: It contradicts a suite or itself, or no evidence could satisfy it.
    """
    caller.require_work()
    with sessions() as session:
        suites = _suites(session, policy)
    whole = _completed(policy, suites)
    return [
        each
        for rule in whole.rules
        for each in rule_plans(rule, _metric(rule, suites), assumed(rule.metric))
    ]


# A suite as a rule names it: with a version, or the latest.
_Named = tuple[str, str | None]


def _named(rule: Rule) -> _Named:
    return rule.suite_name, rule.suite_version


def _suites(session: Session, policy: Policy) -> dict[_Named, Suite | None]:
    """Return every suite that the rules name, in the version they name or the latest."""
    found: dict[_Named, Suite | None] = {}
    for name, version in {_named(rule) for rule in policy.rules}:
        if version is None:
            row = latest_suite(session, name)
        else:
            row = suite_versioned(session, name, version)
        found[name, version] = None if row is None else suite_of(row)
    return found


def _metric(rule: Rule, suites: Mapping[_Named, Suite | None]) -> Metric:
    return expect(expect(suites[_named(rule)]).metric(rule.metric_name))


def _completed(policy: Policy, suites: Mapping[_Named, Suite | None]) -> Policy:
    faults = list(policy_faults(policy))
    rules = [_completed_rule(rule, suites[_named(rule)], faults) for rule in policy.rules]
    if faults:
        raise InvalidPolicyError(f"The policy {policy.name} is refused; see faults.", faults)
    return replace(policy, rules=tuple(rules))


def _completed_rule(rule: Rule, suite: Suite | None, faults: list[Fault]) -> Rule:
    """Return the rule with its gaps filled, and add its faults to `faults`."""
    if suite is None:
        message = (
            f"The rule on {rule.metric} names no registered suite; a metric is written "
            "suite/metric, and the suite is registered first."
        )
        faults.append(Fault("unknown-suite", message))
        return rule
    found = list(rule_faults(rule, suite))
    faults += found
    return rule if found else completed(rule, suite)
