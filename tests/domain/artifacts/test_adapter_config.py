"""An adapter's configuration: the settings that are read, and those that are refused."""

import json

import pytest

from app.domain.artifacts.adapter_config import (
    CONFIG_LIMIT_BYTES,
    TASK_TYPES,
    AdapterConfig,
    parse_config,
)
from tests.support.adapters import a_config
from tests.support.trained import train_tiny


def codes(data):
    _, faults = parse_config(data)
    return [fault.code for fault in faults]


def message(data):
    _, (fault,) = parse_config(data)
    return fault.message


def test_the_configuration_of_a_prefix_is_read():
    config, faults = parse_config(a_config(revision="main", task_type=None))

    assert faults == ()
    assert config == AdapterConfig(
        peft_type="PREFIX_TUNING",
        task_type=None,
        virtual_tokens=3,
        base_model_name="tiny/llama",
        base_model_revision="main",
        peft_version="0.21.2",
        frozen_tokens=None,
        layers=4,
        heads=2,
        token_dim=16,
        submodules=1,
        projected=False,
    )


def test_the_configuration_of_a_cartridge_that_peft_saved_is_read():
    trained = train_tiny("llama", "CARTRIDGE", num_frozen_tokens=2)

    config, faults = parse_config(trained.config)

    assert faults == ()
    assert (config.peft_type, config.frozen_tokens) == ("CARTRIDGE", 2)


def test_a_projected_prefix_that_peft_saved_is_recognised():
    config, faults = parse_config(train_tiny("gpt2", prefix_projection=True).config)

    assert (config.projected, faults) == (True, ())


def test_the_task_types_are_those_of_peft():
    import peft  # noqa: PLC0415 - a slow import

    assert set(TASK_TYPES) == {task.value for task in peft.TaskType}


def test_a_local_path_is_a_base_models_name():
    config, faults = parse_config(a_config(base_model_name_or_path="/models/../llama é"))

    assert (config.base_model_name, faults) == ("/models/../llama é", ())


def test_keys_that_do_not_change_loading_are_ignored():
    assert codes(a_config(init_weights="zero", alora_invocation_tokens=[1], corda_config={})) == []


def test_settings_that_peft_would_fill_in_may_be_missing():
    optional = ("num_layers", "num_attention_heads", "token_dim", "task_type", "peft_version")

    config, faults = parse_config(a_config(without=optional))

    assert (config.layers, config.heads, config.token_dim, faults) == (None, None, None, ())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"", "config-json", id="empty"),
        pytest.param(b"peft_type: LORA", "config-json", id="not-json"),
        pytest.param(b'["PREFIX_TUNING"]', "config-not-an-object", id="not-an-object"),
        pytest.param(b"{" + b" " * CONFIG_LIMIT_BYTES + b"}", "config-too-large", id="huge"),
        pytest.param(b'{"a":' * 20 + b"1" + b"}" * 20, "config-nesting", id="nested"),
        pytest.param(b'{"a":' * 40_000, "config-nesting", id="endlessly-nested"),
        pytest.param(b'{"num_virtual_tokens": NaN}', "config-number", id="nan"),
        pytest.param(b'{"num_virtual_tokens": 1e999}', "config-number", id="infinite"),
        pytest.param(b'{"a": 1, "a": 2}', "config-duplicate-key", id="duplicate-key"),
        pytest.param(b'{"x": {"a": 1, "a": 2}}', "config-duplicate-key", id="duplicate-inside"),
        pytest.param(b'{"revision": "\\udc00"}', "config-encoding", id="lone-surrogate"),
        pytest.param(a_config().decode().encode("utf-16"), "config-encoding", id="utf-16"),
        pytest.param(b"\xef\xbb\xbf" + a_config(), "config-encoding", id="byte-order-mark"),
    ],
)
def test_a_file_that_is_not_strict_json_is_refused(data, code):
    config, _ = parse_config(data)

    assert config is None
    assert codes(data) == [code]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"peft_type": "LORA"}, ["config-peft-type"], id="lora"),
        pytest.param({"peft_type": "prefix_tuning"}, ["config-peft-type"], id="lower-case"),
        pytest.param({"peft_type": None}, ["config-peft-type"], id="no-type"),
        pytest.param({"peft_type": 1}, ["config-peft-type"], id="type-not-text"),
        pytest.param({"task_type": "POETRY"}, ["config-task-type"], id="unknown-task"),
        pytest.param({"num_virtual_tokens": None}, ["config-missing-key"], id="no-length"),
        pytest.param({"num_virtual_tokens": "20"}, ["config-wrong-type"], id="string"),
        pytest.param({"num_virtual_tokens": 20.0}, ["config-wrong-type"], id="fraction"),
        pytest.param({"num_virtual_tokens": True}, ["config-wrong-type"], id="bool"),
        pytest.param({"num_virtual_tokens": 0}, ["config-out-of-range"], id="no-tokens"),
        pytest.param({"num_virtual_tokens": -1}, ["config-out-of-range"], id="negative"),
        pytest.param({"num_virtual_tokens": 10**9}, ["config-out-of-range"], id="many-tokens"),
        pytest.param({"num_layers": 10**9}, ["config-out-of-range"], id="many-layers"),
        pytest.param({"num_transformer_submodules": 3}, ["config-out-of-range"], id="submodules"),
        pytest.param({"num_frozen_tokens": 4}, ["config-out-of-range"], id="frozen-beyond-all"),
        pytest.param({"num_frozen_tokens": -1}, ["config-out-of-range"], id="frozen-negative"),
        pytest.param({"prefix_projection": 1}, ["config-wrong-type"], id="flag-not-bool"),
        pytest.param({"revision": 1}, ["config-wrong-type"], id="revision-not-text"),
        pytest.param({"revision": "a\x1b[2J"}, ["config-unsafe-text"], id="escape-sequence"),
        pytest.param({"revision": "a\u202eb"}, ["config-unsafe-text"], id="bidirectional"),
        pytest.param({"peft_version": "1" * 513}, ["config-unsafe-text"], id="long-text"),
        pytest.param(
            {"base_model_name_or_path": "<script>alert(1)</script>"},
            ["config-unsafe-text"],
            id="markup",
        ),
        pytest.param({"modules_to_save": ["head"]}, ["config-changes-loading"], id="modules"),
        pytest.param({"auto_mapping": {}}, ["config-changes-loading"], id="auto-mapping"),
        pytest.param(
            {"prompt_tuning_init_state_dict_path": "/etc/passwd"},
            ["config-changes-loading"],
            id="path-to-open",
        ),
        pytest.param(
            {"num_virtual_tokens": "20", "num_layers": True, "auto_mapping": {}, "revision": 1},
            ["config-changes-loading", *["config-wrong-type"] * 3],
            id="all-at-once",
        ),
    ],
)
def test_an_invalid_setting_is_refused(changes, expected):
    assert codes(a_config(**changes)) == expected


@pytest.mark.parametrize(
    ("peft_type", "words"),
    [
        ("LORA", '"LORA" (a low-rank update)'),
        ("PROMPT_TUNING", '"PROMPT_TUNING" (a soft prompt)'),
        ("XYZ", '"XYZ";'),
        (None, "missing"),
    ],
)
def test_the_refusal_of_another_adapter_names_its_type_and_the_accepted_ones(peft_type, words):
    text = message(a_config(peft_type=peft_type))

    assert words in text
    assert "PREFIX_TUNING and CARTRIDGE" in text


def test_a_faulty_setting_does_not_hide_the_others_from_later_checks():
    config, faults = parse_config(a_config(revision=1))

    assert (len(faults), config.layers, config.base_model_revision) == (1, 4, None)


def test_exactly_two_of_the_types_of_peft_are_accepted():
    import peft  # noqa: PLC0415 - a slow import

    for kind in peft.PeftType:
        accepted = codes(a_config(peft_type=kind.value)) == []

        assert accepted == (kind.value in {"PREFIX_TUNING", "CARTRIDGE"})


def test_the_builder_writes_the_keys_that_peft_writes():
    theirs = json.loads(train_tiny("llama").config)

    assert json.loads(a_config()).keys() <= theirs.keys()
