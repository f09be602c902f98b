"""Channels: binding them to policies, their history, rollbacks and preconditions."""

from datetime import datetime, timedelta

import pytest

from tests.support.builders import code
from tests.support.racing import by_as_many_clients


def test_a_new_channel_serves_nothing(world):
    world.a_version()
    channel = world.a_channel()
    assert (channel["generation"], channel["allocation"]) == (0, [])


def test_binding_is_on_the_audit_log(world):
    world.a_version()
    channel = world.a_channel()

    entry = world.audit()[-1]

    assert entry["action"] == "channel.bind"
    assert entry["facts"]["policy_digest"] == channel["policy"]["digest"]


def test_binding_the_same_policy_again_changes_nothing(world):
    world.a_version()
    channel = world.a_channel()
    before = world.actions()

    again = world.bind(channel["policy"])

    assert (again.status_code, again.json()) == (200, channel)
    assert world.actions() == before


def test_a_channel_keeps_its_allocation_under_another_policy(world):
    world.a_live_version()

    bound = world.a_channel(approvals={"required": 1})

    assert (bound["generation"], bound["allocation"]) == (1, [{"version": 1, "weight": 10_000}])


def test_a_policy_that_does_not_exist_cannot_be_bound(world):
    world.a_version()
    response = world.bind({"name": "no-such-policy", "version": 1})
    assert (response.status_code, code(response)) == (422, "unknown-reference")


def test_a_policy_with_too_few_eligible_reviewers_is_not_bound(world):
    world.a_version()

    response = world.bind(world.a_policy(approvals={"required": 3}))

    assert (response.status_code, code(response)) == (409, "policy-unsatisfiable")
    assert (response.json()["required"], response.json()["eligible"]) == (3, 2)
    found = world.call("GET", f"{world.path}/channels/production", by="publisher")
    assert found.status_code == 404


def test_the_owner_does_not_count_as_an_eligible_reviewer(world):
    world.a_base()
    world.a_prefix(owner="approver-1")
    response = world.bind(world.a_policy(approvals={"required": 2}))
    assert (code(response), response.json()["eligible"]) == ("policy-unsatisfiable", 1)


@pytest.mark.parametrize("role", ["publisher", "approver-1"])
def test_only_admins_bind_channels(world, role):
    world.a_version()
    response = world.bind(world.a_policy(), by=role)
    assert (response.status_code, code(response)) == (403, "forbidden")


def test_a_channel_of_a_missing_prefix_is_not_bound(world):
    assert world.bind(world.a_policy()).status_code == 404


# History


def test_history_lists_every_generation_latest_first(world):
    world.a_live_version(seed=1)
    world.a_live_version(seed=2)
    world.rollback(1)

    assert [(each["generation"], each["kind"]) for each in world.history()] == [
        (3, "rollback"),
        (2, "promotion"),
        (1, "promotion"),
    ]


def test_history_shows_the_executor_and_the_reason(world):
    world.a_live_version()

    (generation,) = world.history()

    assert generation["executed_by"] == "approver-2"
    assert generation["reason"] == "it is better"
    assert generation["allocation"] == [{"version": 1, "weight": 10_000}]


def test_history_shows_the_live_generation_at_a_time(world):
    world.a_live_version(seed=1)
    world.a_live_version(seed=2)
    second, first = world.history()

    for generation in (first, second):
        (found,) = world.history(at=generation["executed_at"])
        assert found == generation
    moment = datetime.fromisoformat(second["executed_at"]) - timedelta(microseconds=1)
    assert world.history(at=moment.isoformat()) == [first]


def test_nothing_was_live_before_the_first_promotion(world):
    world.a_live_version()
    assert world.history(at="2020-01-01T00:00:00Z") == []


def test_a_history_at_a_time_has_no_next_page(world):
    world.a_live_version(seed=1)
    world.a_live_version(seed=2)
    path = f"{world.path}/channels/production/history"
    query = {"at": "2100-01-01T00:00:00Z"}
    page = world.made("GET", path, by="publisher", params=query)
    assert (len(page["items"]), page["next"]) == (1, None)


# Rollbacks


def test_a_rollback_serves_an_earlier_allocation_at_once(world):
    world.a_live_version(seed=1)
    world.a_live_version(seed=2)

    channel = world.rollback(1).json()

    assert (channel["generation"], channel["allocation"]) == (
        3,
        [{"version": 1, "weight": 10_000}],
    )
    assert world.resolve().json()["version"] == 1
    assert world.actions()[-1] == "channel.rollback"


def test_a_rollback_supersedes_pending_promotions(world):
    world.a_live_version(seed=1)
    world.a_live_version(seed=2)
    promotion = world.a_promotion(seed=3)

    world.rollback(1)

    assert world.promotion(promotion)["state"] == "superseded"


def test_a_rollback_to_the_live_allocation_is_refused(world):
    world.a_live_version()

    response = world.rollback(1)

    assert (response.status_code, code(response)) == (409, "nothing-to-change")
    assert world.channel()["generation"] == 1


def test_a_rollback_to_an_emptied_channel_is_refused(world):
    world.revoke(world.a_live_version(seed=1))
    world.a_live_version(seed=2)
    response = world.rollback(2)
    assert (response.status_code, code(response)) == (409, "nothing-to-change")


def test_a_rollback_never_serves_a_revoked_version(world):
    revoked = world.a_live_version(seed=1)
    world.a_live_version(seed=2)
    world.revoke(revoked)

    response = world.rollback(1)

    assert (response.status_code, code(response)) == (410, "version-revoked")
    assert world.channel()["generation"] == 2


def test_a_rollback_to_a_missing_generation_is_refused(world):
    world.a_live_version()
    response = world.rollback(7)
    assert (response.status_code, code(response)) == (404, "not-found")


def test_a_rollback_of_a_missing_channel_is_refused(world):
    world.a_version()
    response = world.rollback(1)
    assert (response.status_code, code(response)) == (404, "not-found")


@pytest.mark.parametrize("role", ["publisher", "admin"])
def test_only_approvers_roll_back(world, role):
    world.a_live_version()
    response = world.rollback(1, by=role)
    assert (response.status_code, code(response)) == (403, "forbidden")


# Preconditions


def tag_of(world):
    return world.call("GET", f"{world.path}/channels/production", by="publisher").headers["etag"]


def test_an_unchanged_channel_is_not_sent_again(world):
    world.a_version()
    bound = world.bind(world.a_policy(own=True))
    path = f"{world.path}/channels/production"
    headers = {"If-None-Match": bound.headers["etag"]}

    known = world.call("GET", path, by="publisher", headers=headers)

    assert (known.status_code, known.content) == (304, b"")
    world.bind(world.a_policy(own=True))
    assert world.call("GET", path, by="publisher", headers=headers).status_code == 200


def test_the_entity_tag_changes_only_with_policy_and_generation(world):
    world.an_evaluated_version()
    tags = [tag_of(world), tag_of(world)]
    world.bind(world.a_policy(own=True))
    tags.append(tag_of(world))
    world.evaluate(world.made("GET", f"{world.path}/versions/1", by="publisher"))
    tags.append(tag_of(world))
    world.approve(world.request({"number": 1}).json())
    tags.append(tag_of(world))
    assert tags == [tags[0], tags[0], tags[2], tags[2], tags[4]]
    assert len({tags[0], tags[2], tags[4]}) == 3


def test_a_binding_with_an_outdated_tag_is_refused(world):
    world.a_version()
    first, second, third = (world.a_policy(own=True) for _ in range(3))
    assert world.bind(first, headers={"If-Match": "*"}).status_code == 412
    known = {"If-Match": world.bind(first, headers={"If-None-Match": "*"}).headers["etag"]}

    assert world.bind(second, headers=known).status_code == 200
    refused = world.bind(third, headers=known)

    assert (refused.status_code, code(refused)) == (412, "precondition-failed")
    assert world.channel()["policy"]["name"] == second["name"]
    assert world.actions().count("channel.bind") == 2


def test_a_rollback_with_an_outdated_tag_is_refused(world):
    world.a_live_version()
    known = {"If-Match": tag_of(world)}
    world.a_live_version(seed=1)

    refused = world.rollback(1, headers=known)
    assert (refused.status_code, code(refused)) == (412, "precondition-failed")
    assert world.channel()["generation"] == 2

    done = world.rollback(1, headers={"If-Match": tag_of(world)})
    assert (done.status_code, done.headers["etag"]) == (200, tag_of(world))


def test_only_one_of_concurrent_bindings_with_the_same_tag_succeeds(world):
    """The entity tag is compared under the channel's lock, not before."""
    world.a_version()
    policies = [world.a_policy(own=True) for _ in range(5)]
    known = {"If-Match": world.bind(policies.pop()).headers["etag"]}
    calls = [
        lambda client, policy=policy: client.bind(policy, headers=known) for policy in policies
    ]
    statuses = sorted(response.status_code for response in by_as_many_clients(world, calls))
    assert statuses == [200, 412, 412, 412]


def test_only_one_of_concurrent_creations_succeeds(world):
    world.a_version()
    policies = [world.a_policy(own=True) for _ in range(4)]
    new = {"If-None-Match": "*"}
    calls = [lambda client, policy=policy: client.bind(policy, headers=new) for policy in policies]
    statuses = sorted(response.status_code for response in by_as_many_clients(world, calls))
    assert statuses == [200, 412, 412, 412]
