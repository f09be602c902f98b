"""Registering base models, suites, policies and prefixes."""

import pytest

from tests.support.adapters import LLAMA
from tests.support.builders import a_base_model, a_digest, a_policy, a_suite, code


def fault_codes(response):
    return {fault["code"] for fault in response.json()["faults"]}


def register(world, path, document, by="admin"):
    return world.call("POST", path, by=by, json=document)


# Base models


def test_a_base_model_is_read_back_as_it_was_registered(world):
    document = a_base_model()

    response = register(world, "/v1/base-models", document, by="publisher")

    assert response.status_code == 201
    found = world.made("GET", response.headers["location"], by="reader")
    assert found == response.json()
    assert found["architecture"]["kv_heads"] == LLAMA.kv_heads


def test_a_base_model_can_come_with_its_configuration(world):
    config = {
        "model_type": "llama",
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "hidden_size": 128,
    }
    document = a_base_model(config=config)
    del document["architecture"]

    made = register(world, "/v1/base-models", document, by="publisher").json()

    assert (made["architecture"]["layers"], made["architecture"]["head_dim"]) == (4, 16)


def test_a_base_model_has_one_source_of_its_geometry(world):
    document = a_base_model(config={"model_type": "llama"})
    response = register(world, "/v1/base-models", document, by="publisher")
    assert (response.status_code, code(response)) == (422, "invalid-request")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"config": {"model_type": "llama"}, "architecture": None}, id="underivable"),
        pytest.param({"config": {}, "architecture": None}, id="empty"),
        pytest.param(
            {"architecture": a_base_model()["architecture"] | {"layers": 2**40}}, id="impossible"
        ),
    ],
)
def test_a_base_model_without_a_usable_geometry_is_refused(world, change):
    response = register(world, "/v1/base-models", a_base_model() | change, by="publisher")
    assert (response.status_code, code(response)) == (422, "invalid-request")
    assert fault_codes(response) == {"geometry"}


@pytest.mark.parametrize(("parameters", "status"), [(2**53 - 1, 201), (2**53, 422), (0, 422)])
def test_a_base_model_has_a_number_of_parameters_that_every_client_reads(world, parameters, status):
    document = a_base_model(parameters=parameters)
    response = register(world, "/v1/base-models", document, by="publisher")
    assert response.status_code == status


def test_registering_the_same_base_model_again_changes_nothing(world):
    document = a_base_model()
    first = register(world, "/v1/base-models", document, by="publisher")

    again = register(world, "/v1/base-models", document, by="publisher")

    assert (again.status_code, again.json()) == (200, first.json())


def test_a_digest_with_different_facts_is_refused_and_names_them(world):
    document = a_base_model()
    register(world, "/v1/base-models", document, by="publisher")

    other = document | {"name": "other/llama", "parameters": 7}
    response = register(world, "/v1/base-models", other, by="publisher")

    assert (response.status_code, code(response)) == (409, "base-model-differs")
    assert response.json()["differences"] == ["name", "parameters"]


def test_only_publishers_register_base_models(world):
    response = register(world, "/v1/base-models", a_base_model(), by="approver-1")
    assert (response.status_code, code(response)) == (403, "forbidden")


def test_a_base_model_that_is_not_registered_is_not_found(world):
    response = world.call("GET", f"/v1/base-models/{a_digest()}", by="reader")
    assert (response.status_code, code(response)) == (404, "not-found")


# Suites


def test_a_suite_is_read_back_as_it_was_registered(world):
    document = a_suite()

    response = register(world, "/v1/suites", document)

    found = world.made("GET", response.headers["location"], by="evaluator")
    assert (response.status_code, found) == (201, response.json())
    assert found["personas"] == document["personas"]


def test_registering_the_same_suite_again_changes_nothing(world):
    document = a_suite()
    first = register(world, "/v1/suites", document)
    again = register(world, "/v1/suites", document)
    assert (again.status_code, again.json()) == (200, first.json())


def test_a_suite_version_is_never_redefined(world):
    document = a_suite()
    register(world, "/v1/suites", document)

    response = register(world, "/v1/suites", document | {"locales": ["fr"]})

    assert (response.status_code, code(response)) == (409, "already-exists")


def test_a_suite_version_that_differs_by_case_only_is_refused(world):
    suite = world.a_suite(version="RC1")
    response = world.call("POST", "/v1/suites", by="admin", json=suite | {"version": "rc1"})
    assert (response.status_code, code(response)) == (409, "already-exists")
    assert "The version RC1 of the suite" in response.json()["detail"]


def test_a_suite_that_contradicts_itself_is_refused(world):
    document = a_suite(personas=["novice", "novice"], locales=["en", "en"])
    response = register(world, "/v1/suites", document)
    assert (response.status_code, code(response)) == (422, "invalid-suite")
    assert fault_codes(response) == {"persona-repeated", "locale-repeated"}


def test_only_an_admin_of_everything_registers_suites(world):
    _, token = world.a_principal(None, ("admin", world.namespace))
    response = register(world, "/v1/suites", a_suite(), by=token)
    assert (response.status_code, code(response)) == (403, "forbidden")


def test_a_suite_that_is_not_registered_is_not_found(world):
    response = world.call("GET", "/v1/suites/no-such-suite/1", by="evaluator")
    assert (response.status_code, code(response)) == (404, "not-found")


# Policies


def test_a_policy_is_read_back_with_its_gaps_filled(world):
    suite = world.a_suite()
    document = a_policy(world.suite)
    del document["rules"][0]["min_samples"]

    response = register(world, "/v1/policies", document)

    found = world.made("GET", response.headers["location"], by="evaluator")
    assert (response.status_code, found) == (201, response.json())
    (rule,) = found["document"]["rules"]
    assert (rule["personas"], rule["locales"]) == (suite["personas"], suite["locales"])
    assert rule["min_samples"] == 20  # the smallest number that can show 0.85 at 95 %


def test_a_policy_without_gaps_is_stored_unchanged(world):
    world.a_suite()
    rule = {
        "metric": f"{world.suite}/tone",
        "personas": ["novice"],
        "locales": ["de"],
        "min_samples": 100,
        "at_least": 0.85,
    }
    made = register(world, "/v1/policies", a_policy(world.suite, rules=[rule])).json()
    assert made["document"]["rules"][0].items() >= rule.items()


def test_creating_the_latest_text_of_a_policy_again_changes_nothing(world):
    world.a_suite()
    document = a_policy(world.suite)
    first = register(world, "/v1/policies", document)
    again = register(world, "/v1/policies", document)
    assert (again.status_code, again.json()) == (200, first.json())


def test_a_new_text_is_a_new_version_of_the_policy(world):
    world.a_suite()
    document = a_policy(world.suite)
    register(world, "/v1/policies", document)
    second = register(world, "/v1/policies", document | {"approvals": {"required": 1}})
    assert (second.status_code, second.json()["version"]) == (201, 2)


def test_an_earlier_text_is_a_new_version_of_the_policy(world):
    world.a_suite()
    document = a_policy(world.suite)
    register(world, "/v1/policies", document)
    register(world, "/v1/policies", document | {"approvals": {"required": 1}})
    assert register(world, "/v1/policies", document).json()["version"] == 3


def test_a_policy_uses_the_suite_version_registered_last(world):
    document = world.a_suite(own=True)
    newer = document | {"version": "2", "locales": ["fr"]}
    register(world, "/v1/suites", newer)
    register(world, "/v1/suites", a_suite())  # another suite, registered later still
    made = register(world, "/v1/policies", a_policy(world.suite)).json()
    assert made["document"]["rules"][0]["locales"] == ["fr"]


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        pytest.param(
            {"metric": "no-such-suite/tone", "at_least": 0.5}, "unknown-suite", id="suite"
        ),
        pytest.param({"metric": "{suite}/speed", "at_least": 0.5}, "unknown-metric", id="metric"),
        pytest.param({"metric": "{suite}/tone"}, "rule-empty", id="empty"),
        pytest.param(
            {"metric": "{suite}/tone", "at_least": 0.95, "min_samples": 50},
            "unreachable",
            id="unreachable",
        ),
        pytest.param(
            {"metric": "{suite}/tone", "at_most": 0.5}, "limit-against-direction", id="direction"
        ),
    ],
)
def test_a_policy_that_cannot_be_satisfied_is_refused(world, rule, fault):
    world.a_suite()
    metric = rule["metric"].format(suite=world.suite)

    document = a_policy(world.suite, rules=[rule | {"metric": metric}])
    response = register(world, "/v1/policies", document)

    assert (response.status_code, code(response)) == (422, "invalid-policy")
    assert fault_codes(response) == {fault}


def test_several_rules_may_use_one_suite(world):
    world.a_suite()
    rules = [
        {"metric": f"{world.suite}/tone", "at_least": 0.8},
        {"metric": f"{world.suite}/toxicity", "at_most": 0.1},
    ]
    made = register(world, "/v1/policies", a_policy(world.suite, rules=rules)).json()
    assert [rule["min_samples"] for rule in made["document"]["rules"]] == [15, 31]


def test_a_wait_longer_than_the_lifetime_of_a_request_is_refused(world):
    world.a_suite()
    document = a_policy(world.suite, approvals={"required": 1, "wait": "P30D"})
    response = register(world, "/v1/policies", document)
    assert fault_codes(response) == {"wait-too-long"}


def test_only_an_admin_of_everything_creates_policies(world):
    world.a_suite()
    _, token = world.a_principal(None, ("admin", world.namespace))
    response = register(world, "/v1/policies", a_policy(world.suite), by=token)
    assert (response.status_code, code(response)) == (403, "forbidden")


def test_a_policy_that_was_never_created_is_not_found(world):
    response = world.call("GET", "/v1/policies/no-such-policy/1", by="evaluator")
    assert (response.status_code, code(response)) == (404, "not-found")


# Prefixes


def test_a_new_prefix_is_empty(world):
    made = world.a_prefix(owner="approver-1", description="Polite.", intended_uses=["tone"])

    assert (made["owner"], made["created_by"]) == ("approver-1", "publisher")
    assert (made["description"], made["intended_uses"]) == ("Polite.", ["tone"])
    assert (made["latest"], made["channels"]) == (None, [])
    assert world.made("GET", world.path, by="approver-2") == made


def test_a_prefix_shows_its_channels_and_latest_version(world):
    world.a_live_version(seed=1)
    world.a_version(seed=2)

    found = world.made("GET", world.path, by="publisher")

    assert found["latest"] == 2
    assert found["channels"] == [
        {
            "name": "production",
            "generation": 1,
            "allocation": [{"version": 1, "weight": 10_000}],
        }
    ]


def test_a_prefix_is_created_once(world):
    world.a_prefix()
    body = {"namespace": world.namespace, "name": "voice", "owner": "admin"}
    response = register(world, "/v1/prefixes", body, by="publisher")
    assert (response.status_code, code(response)) == (409, "already-exists")


def test_the_owner_of_a_prefix_must_exist(world):
    body = {"namespace": world.namespace, "name": "voice", "owner": "unknown-principal"}
    response = register(world, "/v1/prefixes", body, by="publisher")
    assert (response.status_code, code(response)) == (422, "unknown-reference")


def test_only_publishers_create_prefixes(world):
    body = {"namespace": world.namespace, "name": "voice", "owner": "admin"}
    response = register(world, "/v1/prefixes", body, by="approver-1")
    assert (response.status_code, code(response)) == (403, "forbidden")


@pytest.mark.parametrize("namespace", ["v1", "api", "admin", "docs"])
def test_a_path_of_the_server_is_not_a_namespace(world, namespace):
    body = {"namespace": namespace, "name": "voice", "owner": "admin"}
    response = register(world, "/v1/prefixes", body, by="publisher")
    assert (response.status_code, code(response)) == (422, "invalid-request")


def test_a_prefix_that_was_never_created_is_not_found(world):
    response = world.call("GET", world.path, by="publisher")
    assert (response.status_code, code(response)) == (404, "not-found")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param({"namespace": "{namespace}"}, ["other_voice", "voice"], id="namespace"),
        pytest.param({"q": "{namespace}/OTHER"}, ["other_voice"], id="part-of-the-name"),
        pytest.param({"q": "{namespace}/other_"}, ["other_voice"], id="underscore-is-itself"),
        pytest.param({"q": "{namespace}/%"}, [], id="percent-is-itself"),
        pytest.param({"base_model": "{base}"}, ["voice"], id="base-model"),
        pytest.param({"base_model": "{base}", "q": "{namespace}/"}, ["voice"], id="both"),
        pytest.param({"base_model": a_digest()}, [], id="another-base-model"),
        pytest.param({"namespace": "no-such-namespace"}, [], id="another-namespace"),
    ],
)
def test_prefixes_are_found_by_namespace_name_and_base_model(world, query, found):
    world.a_base(own=True)
    world.a_prefix()
    world.a_version()
    world.a_prefix(name="other_voice")
    facts = {"namespace": world.namespace, "base": world.base}
    params = {key: value.format(**facts) for key, value in query.items()}

    listed = world.made("GET", "/v1/prefixes", by="publisher", params=params)["items"]

    assert [prefix["name"] for prefix in listed] == found


@pytest.mark.parametrize("name", ["-voice", "a..b", "voice.git", "", "v" * 97])
def test_a_name_that_no_repository_can_have_is_refused(world, name):
    body = {"namespace": world.namespace, "name": name, "owner": "admin"}
    response = register(world, "/v1/prefixes", body, by="publisher")
    assert (response.status_code, code(response)) == (422, "invalid-request")


@pytest.mark.parametrize("name", ["-voice", "a..b", "voice.git"])
def test_an_impossible_name_is_not_found(world, name):
    response = world.call("GET", f"/v1/prefixes/{world.namespace}/{name}", by="publisher")
    assert (response.status_code, code(response)) == (404, "not-found")
