"""Planning the sample counts of a draft policy."""

import pytest

from tests.support.builders import a_policy


def plan(world, rules, **assumptions):
    if world.suite is None:
        world.a_suite()
    named = [rule | {"metric": f"{world.suite}/{rule['metric']}"} for rule in rules]
    body = {"policy": a_policy(world.suite, rules=named)} | assumptions
    return world.call("POST", "/v1/policies/plan", by="evaluator", json=body)


def demands(response):
    assert response.status_code == 200, response.text
    return response.json()["demands"]


def samples(demand):
    return {each["power"]: each["samples"] for each in demand["needed"]}


def test_a_limit_is_planned_for_both_powers(world):
    (demand,) = demands(plan(world, [{"metric": "tone", "at_least": 0.85}]))

    assert (demand["demand"], demand["limit"], demand["cells"]) == ("at_least", 0.85, 4)
    assert demand["fewest"] == 19
    # The table of docs/concepts/statistics.md.
    assert samples(demand) == {0.8: 304, 0.9: 408}


def test_the_assumption_can_be_stated_for_each_metric(world):
    rules = [{"metric": "tone", "at_least": 0.85}, {"metric": "toxicity", "at_most": 0.05}]
    world.a_suite()
    better = {f"{world.suite}/toxicity": 0.03}

    tone, toxicity = demands(plan(world, rules, better_by=0.1, better_by_of=better))

    assert samples(tone) == {0.8: 68, 0.9: 85}
    assert samples(toxicity) == {0.8: 286, 0.9: 361}


def test_a_mean_is_planned_from_its_standard_deviation(world):
    world.a_suite()
    rules = [{"metric": "bleu", "at_least": 30}]
    spread = {f"{world.suite}/bleu": 10}

    (demand,) = demands(plan(world, rules, better_by=2, standard_deviations=spread))

    assert samples(demand) == {0.8: 156, 0.9: 216}


def test_without_a_standard_deviation_the_message_asks_for_it(world):
    (demand,) = demands(plan(world, [{"metric": "bleu", "at_least": 30}], better_by=2))

    assert demand["needed"] == []
    assert "standard deviation" in demand["message"]


def test_margins_are_planned_with_paired_samples(world):
    margins = {"incumbent": 0.05, "base": 0.1}
    rules = [{"metric": "tone", "at_least": 0.85, "no_worse_than": margins}]

    _, incumbent, base = demands(plan(world, rules))

    assert (incumbent["demand"], base["demand"]) == ("incumbent", "base")
    assert samples(incumbent) == {0.8: 292, 0.9: 373}
    assert samples(base) == {0.8: 84, 0.9: 118}


def test_margins_of_a_mean_are_planned_from_the_deviation_of_a_difference(world):
    world.a_suite()
    margins = {"incumbent": 1, "base": 2}
    rules = [{"metric": "bleu", "at_least": 30, "no_worse_than": margins}]
    spread = {f"{world.suite}/bleu": 10}

    _, incumbent, base = demands(plan(world, rules, better_by=5, standard_deviations=spread))

    assert samples(incumbent) == {0.8: 620, 0.9: 858}
    assert samples(base) == {0.8: 156, 0.9: 216}
    assert "it is as good as its base, a cell passes" in base["message"]


def test_a_plan_is_never_below_the_rules_minimum(world):
    rules = [{"metric": "tone", "at_least": 0.5, "min_samples": 500}]
    (demand,) = demands(plan(world, rules, better_by=0.4))
    assert samples(demand) == {0.8: 500, 0.9: 500}


def test_an_unreachable_true_value_is_reported(world):
    (demand,) = demands(plan(world, [{"metric": "tone", "at_least": 0.98}], better_by=0.05))
    assert demand["needed"] == []
    assert demand["message"]


def test_an_invalid_policy_is_refused_as_on_creation(world):
    response = plan(world, [{"metric": "tone", "at_least": 0.95, "min_samples": 50}])
    assert response.status_code == 422
    assert [fault["code"] for fault in response.json()["faults"]] == ["unreachable"]


def test_a_plan_stores_nothing(world):
    before = world.last_entry("registry")
    plan(world, [{"metric": "tone", "at_least": 0.85}])
    after = world.last_entry("registry")
    assert after["action"] == "suite.register" or after == before


@pytest.mark.parametrize("better_by", [0, 0.004, -1, "NaN"])
def test_an_improvement_too_small_to_plan_is_refused(world, better_by):
    response = plan(world, [{"metric": "tone", "at_least": 0.85}], better_by=better_by)
    assert response.status_code == 422
