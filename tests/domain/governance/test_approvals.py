"""Reviews: eligible reviewers, the approvals that count, and the number required."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.governance.allocation import Share
from app.domain.governance.approvals import (
    ApprovalSubject,
    Review,
    Reviewer,
    Verdict,
    counted_approvals,
    eligible,
    required_approvals,
    review_refusal_reason,
    subject_digest,
)
from app.domain.governance.policies import Approvals, Canary, CanaryApprovals, Contributor
from app.domain.identity.access import PrincipalKind
from tests.support.evidence import NOW, a_digest, a_policy_of, a_rule, an_id

SUBJECT = a_digest("subject")
STRICT = Approvals(required=2)
SECOND = timedelta(seconds=1)


def a_reviewer(name="bob", kind=PrincipalKind.HUMAN):
    return Reviewer(name, an_id(name), kind)


def a_review(**changes):
    facts = {
        "reviewer_id": an_id("bob"),
        "verdict": Verdict.APPROVE,
        "subject_digest": SUBJECT,
        "at": NOW,
    }
    return Review(**facts | changes)


LONG_AGO = NOW - timedelta(days=365)


def counted(*reviews, subject=SUBJECT, since=LONG_AGO, now=NOW):
    return counted_approvals(STRICT, reviews, subject=ApprovalSubject(subject, since), now=now)


@pytest.mark.parametrize(
    ("role", "word"),
    [
        pytest.param(Contributor.AUTHOR, "an author of the promoted versions", id="author"),
        pytest.param(Contributor.OWNER, "the owner of the prefix", id="owner"),
        pytest.param(Contributor.REQUESTER, "the requester", id="requester"),
        pytest.param(
            Contributor.EVALUATOR, "an evaluator of the promoted versions", id="evaluator"
        ),
    ],
)
def test_a_contributor_may_not_review_and_the_reason_names_the_contribution(role, word):
    reason = review_refusal_reason(STRICT, a_reviewer(), {role: frozenset({an_id("bob")})})

    assert reason == f"bob is {word}, and the policy excludes such reviewers."


def test_a_reviewer_without_a_contribution_may_review():
    others = dict.fromkeys(Contributor, frozenset({an_id("alice")}))

    assert review_refusal_reason(STRICT, a_reviewer(), others) is None


def test_a_policy_may_admit_a_kind_of_contributor():
    lenient = Approvals(exclude=(Contributor.AUTHOR,))
    owner = {Contributor.OWNER: frozenset({an_id("bob")})}

    assert review_refusal_reason(lenient, a_reviewer(), owner) is None


@pytest.mark.parametrize(
    ("human", "kind", "barred"),
    [
        pytest.param(True, PrincipalKind.HUMAN, False, id="human-where-humans-are-demanded"),
        pytest.param(True, PrincipalKind.SERVICE, True, id="service-where-humans-are-demanded"),
        pytest.param(False, PrincipalKind.HUMAN, False, id="human-where-services-may-review"),
        pytest.param(False, PrincipalKind.SERVICE, False, id="service-where-services-may-review"),
    ],
)
def test_a_service_reviews_only_where_the_policy_does_not_demand_humans(human, kind, barred):
    reason = review_refusal_reason(Approvals(human=human), a_reviewer(kind=kind), {})

    assert (reason is not None) is barred
    assert not barred or reason == "bob is a service, and the policy demands human reviewers."


def test_the_defaults_of_approvals_are_strict():
    silent = Approvals()

    assert (silent.required, silent.human, silent.valid_for) == (1, True, timedelta(days=7))
    assert set(silent.exclude) == set(Contributor)


@given(
    approvals=st.builds(
        Approvals,
        exclude=st.lists(st.sampled_from(Contributor), unique=True).map(tuple),
        human=st.booleans(),
    ),
    reviewers=st.sets(
        st.builds(a_reviewer, st.sampled_from("abcdef"), st.sampled_from(PrincipalKind))
    ),
    contributors=st.dictionaries(
        st.sampled_from(Contributor), st.frozensets(st.sampled_from("abcdef").map(an_id))
    ),
)
def test_no_excluded_contributor_is_eligible(approvals, reviewers, contributors):
    able = eligible(approvals, reviewers, contributors)

    excluded = {id_ for role in approvals.exclude for id_ in contributors.get(role, frozenset())}
    assert {each.id for each in able}.isdisjoint(excluded)
    assert not approvals.human or {each.kind for each in able} <= {PrincipalKind.HUMAN}
    for each in reviewers - set(able):
        assert review_refusal_reason(approvals, each, contributors) is not None


def test_the_eligible_are_listed_by_name():
    names = [each.name for each in eligible(STRICT, map(a_reviewer, ("dan", "bob", "carol")), {})]

    assert names == ["bob", "carol", "dan"]


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        pytest.param({}, True, id="an-approval"),
        pytest.param({"verdict": Verdict.REJECT}, False, id="a-rejection"),
        pytest.param({"subject_digest": a_digest("other")}, False, id="of-another-subject"),
        pytest.param({"at": NOW - STRICT.valid_for}, True, id="on-its-last-moment"),
        pytest.param({"at": NOW - STRICT.valid_for - SECOND}, False, id="expired"),
    ],
)
def test_an_approval_counts_for_exactly_its_subject_until_it_expires(changes, counts):
    review = a_review(**changes)

    assert counted(review) == ((review,) if counts else ())


@given(
    ages=st.lists(st.integers(0, 14 * 24)),
    later=st.integers(0, 14 * 24),
)
def test_time_never_makes_an_approval_count(ages, later):
    reviews = [a_review(at=NOW - timedelta(hours=age)) for age in ages]

    after = counted(*reviews, now=NOW + timedelta(hours=later))

    assert set(after) <= set(counted(*reviews))


ALLOCATION = {a_digest("v1"): 9_000, a_digest("v2"): 1_000}


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"allocation": {a_digest("v1"): 9_001, a_digest("v2"): 999}}, id="a-weight"),
        pytest.param({"allocation": {a_digest("v1"): 9_000, a_digest("v3"): 1_000}}, id="bytes"),
        pytest.param({"allocation": {a_digest("v1"): 10_000}}, id="one-version-fewer"),
        pytest.param({"evidence_digest": a_digest("more evidence")}, id="the-evidence"),
        pytest.param({"policy_digest": a_digest("another policy")}, id="the-policy"),
    ],
)
def test_an_approval_of_one_subject_does_not_count_for_another(changed):
    facts = {
        "allocation": ALLOCATION,
        "evidence_digest": a_digest("evidence"),
        "policy_digest": a_digest("policy"),
    }
    review = a_review(subject_digest=subject_digest(**facts))

    changed_digest = subject_digest(**facts | changed)

    assert counted(review, subject=subject_digest(**facts)) == (review,)
    assert counted(review, subject=changed_digest) == ()


def test_an_approval_from_before_the_last_change_is_void_even_if_it_was_undone():
    before, after = a_review(at=NOW - SECOND), a_review(at=NOW)

    assert counted(before, after, since=NOW) == (after,)


def test_the_order_of_an_allocation_is_not_part_of_the_subject():
    backwards = dict(reversed(ALLOCATION.items()))

    assert subject_digest(ALLOCATION, "e", "p") == subject_digest(backwards, "e", "p")


def a_policy(*, canary):
    lighter = Canary(max_weight=1_000, approvals=CanaryApprovals(1)) if canary else None
    return a_policy_of(a_rule(), approvals=Approvals(required=3), canary=lighter)


@pytest.mark.parametrize(
    ("weights", "canary", "required"),
    [
        pytest.param([1_000], True, 1, id="a-canary"),
        pytest.param([1_001], True, 3, id="more-than-a-canary"),
        pytest.param([500, 500], True, 1, id="two-small-canaries"),
        pytest.param([1_000] * 10, True, 3, id="ten-canaries-are-all-of-the-traffic"),
        pytest.param([], True, 3, id="nothing-is-no-canary"),
        pytest.param([1_000], False, 3, id="a-policy-without-canaries"),
    ],
)
def test_a_canary_needs_fewer_approvals_as_long_as_it_stays_one(weights, canary, required):
    shares = tuple(Share(number, weight) for number, weight in enumerate(weights, 1))

    assert required_approvals(a_policy(canary=canary), shares) == required
