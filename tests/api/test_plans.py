"""Planning the sample counts of a draft policy."""

import pytest

from app.domain.statistics.planning import samples_for_pairs, samples_for_proportion
from tests.support.builders import a_policy


def plan(world, rules, **assumptions):
    if world.suite is None:
        world.a_suite()
    named = [rule | {"metric": f"{world.suite}/{rule['metric']}"} for rule in rules]
    policy = a_policy(world.suite, rules=named, evidence={"level": 1})
    body = {"policy": policy} | assumptions
    return world.call("POST", "/v1/policies/plan", by="evaluator", json=body)


def demands(response):
    assert response.status_code == 200, response.text
    return response.json()["demands"]


def samples(demand):
    return {each["power"]: each["samples"] for each in demand["needed"]}


def at_first_look(samples_for, *facts, **more):
    """Return the samples for each power at the level of the first look, 0.8 of 5 %."""
    return {power: samples_for(*facts, 0.96, power, **more) for power in (0.8, 0.9)}


def test_a_limit_is_planned_for_both_powers(world):
    (demand,) = demands(plan(world, [{"metric": "tone", "at_least": 0.85}]))

    assert (demand["demand"], demand["limit"], demand["cells"]) == ("at_least", 0.85, 4)
    assert demand["fewest"] == 20
    assert samples(demand) == at_first_look(samples_for_proportion, 0.85, 0.9, demand="at_least")


def test_the_assumption_can_be_stated_for_each_metric(world):
    rules = [{"metric": "tone", "at_least": 0.85}, {"metric": "toxicity", "at_most": 0.05}]
    world.a_suite()
    better = {f"{world.suite}/toxicity": 0.03}

    tone, toxicity = demands(plan(world, rules, better_by=0.1, better_by_of=better))

    assert samples(tone) == at_first_look(samples_for_proportion, 0.85, 0.95, demand="at_least")
    assert samples(toxicity) == at_first_look(samples_for_proportion, 0.05, 0.02, demand="at_most")


def test_a_mean_is_planned_from_its_standard_deviation(world):
    world.a_suite()
    rules = [{"metric": "bleu", "at_least": 30}]
    spread = {f"{world.suite}/bleu": 10}

    (demand,) = demands(plan(world, rules, better_by=2, standard_deviations=spread))

    assert samples(demand) == {0.8: 509, 0.9: 625}


def test_without_a_standard_deviation_the_message_asks_for_it(world):
    (demand,) = demands(plan(world, [{"metric": "bleu", "at_least": 30}], better_by=2))

    assert demand["needed"] == []
    assert "standard deviation" in demand["message"]


def test_margins_are_planned_with_paired_samples(world):
    margins = {"incumbent": 0.05, "base": 0.1}
    rules = [{"metric": "tone", "at_least": 0.85, "no_worse_than": margins}]

    _, incumbent, base = demands(plan(world, rules))

    assert (incumbent["demand"], base["demand"]) == ("incumbent", "base")
    assert samples(incumbent) == at_first_look(samples_for_pairs, 0.05, 0.1)
    assert samples(base) == at_first_look(samples_for_pairs, 0.1, 0.1)


def test_margins_of_a_mean_are_planned_from_the_deviation_of_a_difference(world):
    world.a_suite()
    margins = {"incumbent": 1, "base": 2}
    rules = [{"metric": "bleu", "at_least": 30, "no_worse_than": margins}]
    spread = {f"{world.suite}/bleu": 10}

    _, incumbent, base = demands(plan(world, rules, better_by=5, standard_deviations=spread))

    assert samples(incumbent) == {0.8: 2299, 0.9: 2820}
    assert samples(base)[0.8] < samples(incumbent)[0.8] / 2
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
