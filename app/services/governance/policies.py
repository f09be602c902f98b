"""Creating policies, and planning the evidence that they need."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from sqlalchemy.orm import Session

from app.db.evaluations import latest_suite, suite_of, suite_versioned
from app.db.models import PolicyRow
from app.db.policies import latest_policy, policy_document
from app.db.session import Sessions, expect
from app.domain.audit.chain import REGISTRY, Facts
from app.domain.errors import Fault, InvalidPolicyError
from app.domain.evidence.suites import Metric, Suite
from app.domain.governance.plans import Assumptions, Plan, rule_plans
from app.domain.governance.policies import (
    Policy,
    Rule,
    completed,
    level_faults,
    policy_faults,
    rule_faults,
    size_faults,
)
from app.domain.identity.access import EVERYWHERE, Caller, Role, role_in
from app.domain.naming import canonical_digest
from app.services.transactions import Transactions


def create(transactions: Transactions, *, policy: Policy) -> tuple[PolicyRow, bool]:
    """Create the next version of a policy; also return whether its text is new.

    Fields that a rule omits are filled in from the suite's latest version, so that the stored
    document is explicit: every persona, every locale, and the smallest sample count that can pass.

    Raises:
        ForbiddenError: The caller is not an admin of the whole registry.
        InvalidPolicyError: The policy contradicts a suite or itself, or no evidence could satisfy
            it.
    """
    needs = role_in(Role.ADMIN, EVERYWHERE)
    with transactions.begin("policy.create", needs, subject=REGISTRY) as transaction:
        session, caller = transaction.session, transaction.caller
        document = policy_document(_completed(policy, _suites(session, policy)))
        digest = canonical_digest(document)
        latest = latest_policy(session, policy.name)
        if latest is not None and latest.digest == digest:
            return latest, False
        number = 1 if latest is None else latest.version + 1
        row = PolicyRow(policy.name, number, document, digest, transaction.now, caller.id)
        session.add(row)
        facts: Facts = {"policy": policy.name, "version": number, "digest": digest}
        transaction.record("policy.create", facts)
        return expect(latest_policy(session, policy.name)), True


def plan(
    sessions: Sessions, *, policy: Policy, assumed: Callable[[str], Assumptions], caller: Caller
) -> list[Plan]:
    """Return how many samples each rule of a draft policy needs; nothing is stored.

    Args:
        sessions: Sessions to read the suites with.
        policy: The draft policy.
        assumed: Returns the assumptions about a metric, given as `suite/metric`.
        caller: The principal that asks.

    Raises:
        ForbiddenError: The caller is neither publisher, evaluator, approver nor admin.
        InvalidPolicyError: The policy contradicts a suite or itself, or no evidence could satisfy
            it.
    """
    caller.require_working_role()
    with sessions() as session:
        suites = _suites(session, policy)
    completed_policy = _completed(policy, suites)
    return [
        rule_plan
        for draft, rule in zip(policy.rules, completed_policy.rules, strict=True)
        for rule_plan in rule_plans(rule, _metric(draft, suites), assumed(rule.metric))
    ]


# The suite that a rule names: its name and version, where no version means the latest.
_SuiteKey = tuple[str, str | None]


def _suite_key(rule: Rule) -> _SuiteKey:
    return rule.suite_name, rule.suite_version


def _suites(session: Session, policy: Policy) -> dict[_SuiteKey, Suite | None]:
    """Return every suite that the rules name; a suite that is not registered is None."""
    found: dict[_SuiteKey, Suite | None] = {}
    for name, version in {_suite_key(rule) for rule in policy.rules}:
        if version is None:
            row = latest_suite(session, name)
        else:
            row = suite_versioned(session, name, version)
        found[name, version] = None if row is None else suite_of(row)
    return found


def _metric(rule: Rule, suites: Mapping[_SuiteKey, Suite | None]) -> Metric:
    return expect(expect(suites[_suite_key(rule)]).metric(rule.metric_name))


def _completed(policy: Policy, suites: Mapping[_SuiteKey, Suite | None]) -> Policy:
    faults = list(policy_faults(policy))
    rules = [
        _completed_rule(policy, rule, suites[_suite_key(rule)], faults) for rule in policy.rules
    ]
    faults += size_faults(rules)
    if faults:
        raise InvalidPolicyError(f"The policy {policy.name} is invalid; see faults.", faults)
    return replace(policy, rules=tuple(rules))


def _completed_rule(policy: Policy, rule: Rule, suite: Suite | None, faults: list[Fault]) -> Rule:
    """Return the rule with its gaps filled, and add its faults to `faults`."""
    if suite is None:
        message = (
            f"The rule for {rule.metric} names no registered suite. Write the metric as "
            "suite/metric, and register the suite first."
        )
        faults.append(Fault("unknown-suite", message))
        return rule
    found = list(rule_faults(rule, suite))
    if (metric := suite.metric(rule.metric_name)) is not None:
        found += level_faults(policy, rule, metric)
    faults += found
    return rule if found else completed(rule, suite)
