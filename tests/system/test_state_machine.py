"""The real services against a simple model of a registry's required behaviour.

Hypothesis picks the callers' actions in any order. The model, a few dictionaries, predicts each
response. After every step the channel serves exactly the allocation that the model predicts.
"""

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from scipy import stats

from tests.support.builders import World, results
from tests.support.session.fixtures import require_replays
from tests.support.session.in_process import InProcessClient

REVIEWERS = ("approver-1", "approver-2")
GOOD, BAD = 0.95, 0.5
MOVES = {"promotion.execute", "promotion.break-glass", "channel.rollback", "channel.withdraw"}


@dataclass
class Version:
    """A version as the model knows it; `evaluations` are [id, value, void]."""

    document: dict
    evaluations: list = field(default_factory=list)
    revoked: bool = False

    @property
    def passes(self):
        """Whether a look passed and the mean of everything still keeps the limit of 0.85."""
        values = [value for _, value, void in self.evaluations if not void]
        if not values or sum(values) / len(values) < 0.85:
            return False
        return any(passes_at_look(look, values[:look]) for look in range(1, len(values) + 1))


def passes_at_look(look, values):
    """Whether reports of 200 samples each show 0.85 at the look's part of 5 % (Clopper-Pearson)."""
    alpha = 0.04 if look == 1 else 0.01 * 6 / (math.pi * (look - 1)) ** 2
    successes = math.floor(200 * sum(values) / len(values) + 1e-9)
    return stats.beta.ppf(alpha, successes, 201 - successes) >= 0.85


@dataclass
class Promotion:
    document: dict
    wanted: dict
    state: str = "pending"
    approvals: set = field(default_factory=set)


class Registry(RuleBasedStateMachine):
    """One prefix with one channel, and all actions of callers on it."""

    app = tokens = sessions = None  # set by the test

    @initialize()
    def begin(self):
        self.world = World(InProcessClient(self.app, raise_server_exceptions=False), self.tokens)
        self.versions, self.promotions, self.live = {}, [], [{}]
        self.required = 2
        self.world.a_suite()
        for _ in range(2):
            self.push()
        self.policies = {n: self.world.a_policy(approvals={"required": n}) for n in (1, 2)}
        assert self.world.bind(self.policies[2]).status_code == 200

    # Actions

    @rule(data=st.data())
    def act(self, data):
        """Do one action. With a rule for each, Hypothesis might leave kinds out of a run."""
        data.draw(st.sampled_from(self._possible()))(data)

    def _possible(self):
        """Return the possible actions; those that advance a promotion occur several times."""
        often = [self.approve, self.approve] if self._pending() else []
        if len(self._pending()) < 3:
            often.append(self.request)
        others = [self.push, self.evaluate, self.void, self.bind]
        if self.promotions:
            others += [self.reject, self.withdraw, self.break_glass]
        if len(self.live) > 1:
            others += [self.request_with_break_glass, self.roll_back, self.revoke]
        return often * 3 + others

    def push(self, data=None):
        number = len(self.versions) + 1
        document = self.world.a_version(seed=number)
        assert document["number"] == number
        self.versions[number] = Version(document)
        self._evaluate(self.versions[number], GOOD)

    def evaluate(self, data):
        value = data.draw(st.sampled_from([GOOD, GOOD, BAD]))
        self._evaluate(self._any(data, self.versions.values()), value)

    def _evaluate(self, version, value):
        response = self.world.evaluate(version.document, results=results(value=value))
        assert response.status_code == 201
        version.evaluations.append([response.json()["id"], value, False])
        self._evidence_changed(version)

    def void(self, data):
        version = self._any(data, self.versions.values())
        evaluation = self._any(data, version.evaluations[::-1])
        status = self.world.void({"id": evaluation[0]}).status_code
        assert status == (409 if evaluation[2] else 200)
        if not evaluation[2]:
            evaluation[2] = True
            self._evidence_changed(version)

    def request(self, data):
        first, second = data.draw(st.permutations(sorted(self.versions)))[:2]
        share = data.draw(st.sampled_from([10_000, 10_000, 9_000, 500]))
        wanted = {first: share} | ({second: 10_000 - share} if share < 10_000 else {})
        allocation = [{"version": n, "weight": weight} for n, weight in wanted.items()]
        response = self.world.request(allocation=allocation)
        assert (response.status_code, _code(response)) == self._expected_response(wanted)
        if response.status_code == 201:
            self.promotions.append(Promotion(response.json(), wanted))

    def approve(self, data):
        promotion = self._recent(data)
        by = data.draw(st.sampled_from(REVIEWERS))
        response = self.world.review(promotion.document, by=by)
        if promotion.state != "pending":
            expected = 409, "invalid-transition"
        elif not self._gate_passes(promotion.wanted):
            expected = 409, "gate-not-passed"
        elif by in promotion.approvals:
            expected = 409, "already-reviewed"
        else:
            expected = 200, None
            promotion.approvals.add(by)
            if len(promotion.approvals) >= self.required:
                self._execute(promotion.wanted, promotion)
        assert (response.status_code, _code(response)) == expected

    def reject(self, data):
        promotion = self._recent(data)
        response = self.world.review(promotion.document, by="approver-1", verdict="reject")
        self._end(promotion, response, "rejected")

    def withdraw(self, data):
        promotion = self._recent(data)
        self._end(promotion, self.world.withdraw(promotion.document), "withdrawn")

    def break_glass(self, data):
        promotion = self._recent(data)
        self._end(promotion, self.world.break_glass(promotion.document), "executed")

    def _end(self, promotion, response, state):
        if promotion.state != "pending":
            assert (response.status_code, _code(response)) == (409, "invalid-transition")
            return
        assert response.status_code == 200, response.text
        promotion.state = state
        if state == "executed":
            self._execute(promotion.wanted, promotion)

    def request_with_break_glass(self, data):
        number = self._any(data, sorted(self.versions))
        reason = "nothing else would mend it in time"
        version = self.versions[number].document
        response = self.world.request(version, by="admin", break_glass=True, reason=reason)
        expected = self._expected_response({number: 10_000})
        if expected in {(201, None), (409, "gate-not-passed")}:
            expected = 201, None
            self._execute({number: 10_000})
        assert (response.status_code, _code(response)) == expected

    def roll_back(self, data):
        generation = data.draw(st.integers(1, len(self.live) - 1))
        wanted = self.live[generation]
        response = self.world.rollback(generation)
        if not wanted or wanted == self.live[-1]:
            expected = 409, "nothing-to-change"
        elif any(self.versions[number].revoked for number in wanted):
            expected = 410, "version-revoked"
        else:
            expected = 200, None
            self._execute(wanted)
        assert (response.status_code, _code(response)) == expected

    def revoke(self, data):
        live = self.live[-1]
        number = self._any(data, [*sorted(live), *sorted(self.versions)])
        version = self.versions[number]
        response = self.world.revoke(version.document)
        assert response.status_code == (410 if version.revoked else 200)
        if version.revoked:
            return
        version.revoked = True
        if number in live:
            left = self._served()
            assert set(left) == set(live) - {number}
            self._execute(left)
        for promotion in self._pending():
            if number in promotion.wanted:
                promotion.state = "superseded"

    def bind(self, data):
        required = data.draw(st.sampled_from([1, 2]))
        assert self.world.bind(self.policies[required]).status_code == 200
        if required != self.required:
            self.required = required
            for promotion in self._pending():
                promotion.approvals.clear()

    # Invariants

    @invariant()
    def the_channel_serves_what_the_model_says(self):
        live = self.live[-1]
        assert self._served() == live
        assert not any(self.versions[number].revoked for number in live)
        response = self.world.resolve(unit="user-42")
        if live:
            assert response.json()["version"] in live
        else:
            empty = (404, "channel-empty") if len(self.live) == 1 else (410, "version-revoked")
            assert (response.status_code, _code(response)) == empty

    @invariant()
    def promotions_are_in_the_states_the_model_says(self):
        for promotion in self.promotions[-3:]:
            shown = self.world.promotion(promotion.document)
            counting = {each["reviewer"] for each in shown["reviews"] if each["counts"]}
            assert shown["state"] == promotion.state
            if promotion.state == "pending":
                assert counting == promotion.approvals
            if promotion.state == "executed":
                assert shown["break_glass"] or shown["decision"]["result"] == "passed"

    def teardown(self):
        if not hasattr(self, "world"):
            return
        history = self.world.history(limit=200)[::-1]
        assert [each["generation"] for each in history] == list(range(1, len(self.live)))
        assert [_weights(each["allocation"]) for each in history] == self.live[1:]
        moves = [each["facts"] for each in self.world.audit() if each["action"] in MOVES]
        assert [facts["generation"] for facts in moves] == list(range(1, len(self.live)))
        assert self.world.verification()["valid"]
        require_replays(self.sessions, self.world.namespace)

    # The model

    def _any(self, data, things):
        return data.draw(st.sampled_from(list(things)))

    def _recent(self, data):
        return self._any(data, self.promotions[:-4:-1])

    def _pending(self):
        return [each for each in self.promotions if each.state == "pending"]

    def _served(self):
        return _weights(self.world.channel()["allocation"])

    def _growing(self, wanted):
        live = self.live[-1]
        return {number for number, weight in wanted.items() if weight > live.get(number, 0)}

    def _gate_passes(self, wanted):
        return all(self.versions[number].passes for number in self._growing(wanted))

    def _expected_response(self, wanted):
        if any(self.versions[number].revoked for number in wanted):
            return 410, "version-revoked"
        if wanted == self.live[-1]:
            return 409, "nothing-to-change"
        return (201, None) if self._gate_passes(wanted) else (409, "gate-not-passed")

    def _execute(self, wanted, promotion=None):
        for other in self._pending():
            other.state = "superseded"
        if promotion is not None:
            promotion.state = "executed"
        self.live.append(dict(wanted))

    def _evidence_changed(self, version):
        for promotion in self._pending():
            if version.document["number"] in self._growing(promotion.wanted):
                promotion.approvals.clear()


def _code(response):
    """Return the code of a refusal, None of a success."""
    return None if response.is_success else response.json()["type"].removeprefix("/problems/")


def _weights(allocation):
    return {share["version"]: share["weight"] for share in allocation}


@pytest.mark.parametrize("examples", [5])
def test_the_registry_agrees_with_the_model_for_any_actions(app, tokens, sessions, examples):
    class Bound(Registry):
        pass

    Bound.app, Bound.tokens, Bound.sessions = app, tokens, sessions
    run_state_machine_as_test(
        Bound,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # thirty steps can be read; shrinking them takes minutes
        ),
    )
