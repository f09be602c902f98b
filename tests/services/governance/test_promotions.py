"""Promotions: requesting, the gate's decision, withdrawing, and break-glass."""

import json
from datetime import timedelta

import pytest

from app.domain.audit.chain import MOST_FACTS_BYTES
from app.domain.naming import canonical_digest
from tests.support.builders import a_policy, code, results

GOOD_REASON = "the fleet is down, and this version fixes it"


def split(**weights):
    """Return an allocation: `split(v1=9000, v2=1000)`."""
    return [{"version": int(name[1:]), "weight": weight} for name, weight in weights.items()]


def test_a_request_shows_its_decision(world):
    promotion = world.a_promotion()

    assert promotion["decision"]["result"] == "passed"
    assert promotion["decision"]["candidates"][0]["number"] == 1
    assert promotion["decision"]["incumbent"] is None
    assert len(promotion["decision"]["findings"]) == 5  # the type, and tone in four cells


def test_a_request_is_compared_with_the_live_version(world):
    live = world.a_live_version(seed=1)
    promotion = world.a_promotion(seed=2)
    assert promotion["decision"]["incumbent"] == {"number": 1, "digest": live["digest"]}


def test_a_request_without_evidence_is_refused_with_findings(world):
    version = world.a_version()
    world.a_channel()

    response = world.request(version)

    assert (response.status_code, code(response)) == (409, "gate-not-passed")
    missing = [each for each in response.json()["findings"] if each["outcome"] == "missing"]
    assert len(missing) == 4


def test_the_gate_s_refusal_is_on_the_audit_log(world):
    version = world.a_version()
    world.a_channel()

    world.request(version)

    entry = world.audit()[-1]
    assert entry["action"] == "promotion.refuse"
    assert entry["facts"]["allocation"] == [
        {"version": 1, "digest": version["digest"], "weight": 10_000}
    ]
    assert len(entry["facts"]["unmet"]) == 4


def test_a_refusal_counts_the_findings_it_does_not_quote(world):
    version = world.a_version()
    world.a_channel()
    assert world.request(version).json()["detail"].endswith("(and 1 more)")


def test_a_refusal_quotes_all_findings_if_they_are_few(world):
    version = world.a_version()
    world.a_channel()
    world.evaluate(version, results=results(personas=["novice"]))

    detail = world.request(version).json()["detail"]

    assert detail.startswith("2 findings: ")
    assert "more)" not in detail


def test_a_channel_without_a_policy_is_closed(world):
    response = world.request(world.a_version())
    assert (response.status_code, code(response)) == (409, "gate-not-configured")


def test_a_version_that_does_not_exist_cannot_be_promoted(world):
    world.an_evaluated_version()
    response = world.request(allocation=split(v1=5000, v7=5000))
    assert (response.status_code, code(response)) == (422, "unknown-reference")


def test_a_revoked_version_cannot_be_promoted(world):
    version = world.an_evaluated_version()
    world.revoke(version)
    response = world.request(version)
    assert (response.status_code, code(response)) == (410, "version-revoked")


def test_the_live_allocation_cannot_be_requested(world):
    response = world.request(world.a_live_version())
    assert (response.status_code, code(response)) == (409, "nothing-to-change")


def test_an_allocation_must_split_all_traffic(world):
    world.an_evaluated_version()

    response = world.request(allocation=split(v1=9000))

    assert (response.status_code, code(response)) == (422, "invalid-allocation")
    assert [fault["code"] for fault in response.json()["faults"]] == ["weights-do-not-sum"]


def test_only_versions_whose_traffic_grows_are_candidates(world):
    live, candidate = world.a_live_version(seed=1), world.an_evaluated_version(seed=2)
    world.evaluate(live, results=results(value=0.2))

    response = world.request(allocation=split(v1=9000, v2=1000))

    assert response.status_code == 201
    candidates = response.json()["decision"]["candidates"]
    assert candidates == [{"number": 2, "digest": candidate["digest"]}]


def test_every_candidate_must_pass(world):
    world.an_evaluated_version(seed=1)
    world.a_version(seed=2)
    response = world.request(allocation=split(v1=5000, v2=5000))
    assert {finding["version"] for finding in response.json()["findings"]} == {1, 2}
    assert code(response) == "gate-not-passed"


def test_a_request_with_too_few_eligible_reviewers_is_refused(world):
    name, token = world.a_principal(
        None, ("publisher", world.namespace), ("approver", world.namespace)
    )
    version = world.a_version()
    world.a_channel(approvals={"required": 3})
    world.evaluate(version)
    before = world.actions()

    response = world.request(version, by=token)

    assert (response.status_code, code(response)) == (409, "policy-unsatisfiable")
    assert (response.json()["required"], response.json()["eligible"]) == (3, 2)
    assert world.actions() == before
    listed = world.made("GET", "/v1/promotions", by=token)["items"]
    assert listed == []
    assert name not in response.text


@pytest.mark.parametrize("role", ["evaluator", "approver-1", "admin"])
def test_only_publishers_request_promotions(world, role):
    response = world.request(world.an_evaluated_version(), by=role)
    assert (response.status_code, code(response)) == (403, "forbidden")


# Canaries


def test_a_canary_requires_fewer_approvals(world):
    world.a_version(seed=1)
    world.a_channel(canary={"max_weight": 1000, "approvals": {"required": 1}})
    world.a_live_version(seed=2)
    world.an_evaluated_version(seed=3)

    promotion = world.request(allocation=split(v2=9000, v3=1000)).json()

    assert promotion["waiting_for"]["approvals"] == 1
    assert world.review(promotion, by="approver-1").json()["state"] == "executed"


def test_an_allocation_above_the_canary_weight_requires_all_approvals(world):
    world.a_version(seed=1)
    world.a_channel(canary={"max_weight": 1000, "approvals": {"required": 1}})
    world.a_live_version(seed=2)
    world.an_evaluated_version(seed=3)

    promotion = world.request(allocation=split(v2=8999, v3=1001)).json()

    assert promotion["waiting_for"]["approvals"] == 2


def test_a_promotion_without_required_approvals_is_executed_at_once(world):
    version = world.a_version()
    world.a_channel(approvals={"required": 0})
    world.evaluate(version)

    promotion = world.request(version).json()

    assert (promotion["state"], promotion["waiting_for"]) == ("executed", None)
    assert world.resolve().json()["version"] == 1
    assert world.actions()[-2:] == ["promotion.request", "promotion.execute"]


# Withdrawing


def test_the_requester_can_withdraw(world):
    promotion = world.a_promotion()

    withdrawn = world.withdraw(promotion).json()

    assert withdrawn["state"] == "withdrawn"
    assert withdrawn["closing_reason"] == "The requester withdrew it."
    assert world.actions()[-1] == "promotion.withdraw"


@pytest.mark.parametrize("other", ["approver-1", "admin", "evaluator"])
def test_only_the_requester_can_withdraw(world, other):
    promotion = world.a_promotion()

    response = world.withdraw(promotion, by=other)

    assert (response.status_code, code(response)) == (403, "forbidden")
    assert world.promotion(promotion)["state"] == "pending"


def test_a_promotion_can_be_withdrawn_only_once(world):
    promotion = world.a_promotion()
    world.withdraw(promotion)

    response = world.withdraw(promotion)

    assert (response.status_code, code(response)) == (409, "invalid-transition")
    assert response.json()["state"] == "withdrawn"


def test_an_expired_promotion_cannot_be_withdrawn(world, time):
    promotion = world.a_promotion()
    time.ahead = timedelta(days=31)

    response = world.withdraw(promotion)

    assert (response.status_code, code(response)) == (409, "invalid-transition")
    assert response.json()["state"] == "expired"


# Break-glass


def test_break_glass_executes_without_approvals(world):
    promotion = world.a_promotion()

    executed = world.break_glass(promotion, reason=GOOD_REASON).json()

    assert (executed["state"], executed["break_glass"]) == ("executed", True)
    assert world.resolve().json()["version"] == 1


def test_break_glass_marks_generation_and_audit_log(world):
    promotion = world.a_promotion()

    world.break_glass(promotion, reason=GOOD_REASON)

    (generation,) = world.history()
    assert (generation["kind"], generation["reason"]) == ("break-glass", GOOD_REASON)
    assert generation["promotion"] == promotion["id"]
    entry = world.audit()[-1]
    assert (entry["action"], entry["facts"]["reason"]) == ("promotion.break-glass", GOOD_REASON)


def test_break_glass_executes_although_the_gate_fails(world):
    promotion = world.a_promotion()
    worse = world.report({"number": 1, "digest": promotion["decision"]["candidates"][0]["digest"]})
    path = f"{world.path}/versions/1/evaluations"
    world.made("POST", path, by="evaluator", json=worse | {"results": results(value=0.1)})
    assert world.promotion(promotion)["decision"]["result"] == "failed"

    assert world.break_glass(promotion).json()["state"] == "executed"


@pytest.mark.parametrize("role", ["approver-1", "publisher"])
def test_only_admins_use_break_glass(world, role):
    promotion = world.a_promotion()

    response = world.break_glass(promotion, by=role)

    assert (response.status_code, code(response)) == (403, "forbidden")
    assert world.promotion(promotion)["state"] == "pending"


def test_break_glass_requires_a_reason_of_20_characters(world):
    promotion = world.a_promotion()
    response = world.break_glass(promotion, reason="nineteen characters")
    assert (response.status_code, code(response)) == (422, "invalid-request")


def test_break_glass_cannot_execute_an_ended_promotion(world):
    promotion = world.a_promotion()
    world.withdraw(promotion)

    response = world.break_glass(promotion)

    assert (response.status_code, code(response)) == (409, "invalid-transition")
    assert world.history() == []


def test_break_glass_cannot_execute_an_expired_promotion(world, time):
    promotion = world.a_promotion()
    time.ahead = timedelta(days=31)

    response = world.break_glass(promotion)

    assert (response.status_code, code(response)) == (409, "invalid-transition")
    assert world.history() == []


# Promotions that other events end


def test_an_executed_promotion_supersedes_the_others_of_its_channel(world):
    first, second = world.a_promotion(seed=1), world.a_promotion(seed=2)

    world.approve(first)

    ended = world.promotion(second)
    assert ended["state"] == "superseded"
    assert ended["closing_reason"] == "Generation 1 of production was executed."
    assert world.actions()[-2:] == ["promotion.execute", "promotion.supersede"]


def test_a_promotion_of_another_channel_is_not_superseded(world):
    version = world.an_evaluated_version()
    world.a_channel("staging")
    elsewhere = world.request(version, channel="staging").json()
    promotion = world.request(version).json()

    world.approve(promotion)

    assert world.promotion(elsewhere)["state"] == "pending"


def test_a_superseded_promotion_cannot_be_approved(world):
    first, second = world.a_promotion(seed=1), world.a_promotion(seed=2)
    world.approve(first)

    response = world.review(second, by="approver-1")

    assert (response.status_code, code(response)) == (409, "invalid-transition")
    assert response.json()["state"] == "superseded"


def test_an_expired_promotion_is_listed_among_the_expired(world, time):
    promotion = world.a_promotion()
    time.ahead = timedelta(days=31)
    by = world.a_principal(None, ("publisher", world.namespace))[1]

    def listed(state):
        query = {"state": state}
        return world.made("GET", "/v1/promotions", by=by, params=query)["items"]

    assert [each["id"] for each in listed("expired")] == [promotion["id"]]
    assert listed("pending") == []


def test_a_list_shows_each_promotion_as_its_own_response_does(world):
    version = world.an_evaluated_version()
    world.break_glass(world.request(version, reason='"}],"quoted": \\ ü').json())
    world.a_live_version(seed=1)  # the first one that is compared with an incumbent
    world.review(world.a_promotion(seed=2), by="approver-1")
    _, token = world.a_principal(None, ("publisher", world.namespace))

    listed = world.made("GET", "/v1/promotions", by=token)["items"]

    assert [each["state"] for each in listed] == ["pending", "executed", "executed"]
    assert listed == [world.promotion(each) for each in listed]


def test_promotions_are_listed_by_state(world):
    first, second = world.a_promotion(seed=1), world.a_promotion(seed=2)
    world.withdraw(first)
    _, token = world.a_principal(None, ("approver", world.namespace))
    for state, expected in (("withdrawn", first), ("pending", second)):
        query = {"state": state}
        (found,) = world.made("GET", "/v1/promotions", by=token, params=query)["items"]
        assert found["id"] == expected["id"]


def test_a_caller_with_all_namespaces_lists_all_promotions(world):
    promotion = world.a_promotion()
    latest = world.made("GET", "/v1/promotions", by="approver-1", params={"limit": 5})["items"]
    assert promotion["id"] in {each["id"] for each in latest}


def test_a_request_names_a_version_or_an_allocation(world):
    version = world.an_evaluated_version()
    for response in (world.request(), world.request(version, allocation=split(v1=10_000))):
        assert (response.status_code, code(response)) == (422, "invalid-request")


def test_a_refusal_by_many_cells_is_a_small_entry(world):
    """The entry can never be removed, so it holds a digest of the findings, and the first ones."""
    personas = [f"persona-{number}-{'x' * 48}" for number in range(60)]
    world.a_suite(personas=personas, locales=["en", "de"])
    version = world.a_version()
    world.a_channel()

    findings = world.request(version).json()["findings"]

    unmet = [each for each in findings if each["outcome"] != "passed"]
    facts = world.audit()[-1]["facts"]
    assert len(unmet) == facts["unmet_count"] == 120
    assert len(facts["unmet"]) == 5
    messages = [f"{each['rule']}: {each['message']}" for each in unmet]
    assert facts["unmet_digest"] == canonical_digest(messages)
    assert len(json.dumps(facts)) < MOST_FACTS_BYTES


def test_a_change_too_large_for_its_entry_changes_nothing(world):
    name, _ = world.a_principal()
    grants = [{"role": "reader", "namespace": f"ns-{number}-{'x' * 52}"} for number in range(240)]
    refused = world.call(
        "PUT", "/v1/grants", by="admin", json={"principal": name, "grants": grants}
    )
    assert (refused.status_code, refused.json()["type"]) == (413, "/problems/too-large")
    assert "fewer grants" in refused.json()["detail"]
    assert world.made("GET", f"/v1/principals/{name}", by="admin")["grants"] == []


@pytest.mark.parametrize(("metrics", "status"), [(9, 201), (10, 422)])
def test_the_cells_of_a_policy_are_bounded(world, metrics, status):
    """33 personas in 33 locales are 1,089 cells for each metric."""
    kinds = {"kind": "proportion", "higher_is_better": True}
    world.a_suite(
        personas=[f"p{number}" for number in range(33)],
        locales=[f"l{number}" for number in range(33)],
        metrics=[{"name": f"m{number}", **kinds} for number in range(metrics)],
    )
    rules = [{"metric": f"{world.suite}/m{number}", "at_least": 0.5} for number in range(metrics)]
    body = a_policy(world.suite, rules=rules)
    response = world.call("POST", "/v1/policies", by="admin", json=body)
    assert response.status_code == status, response.text
    if status == 422:
        assert [fault["code"] for fault in response.json()["faults"]] == ["too-many-cells"]
        assert "10,890 cells" in response.text
