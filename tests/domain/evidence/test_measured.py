"""Logs that name another model or adapter than the artifact evaluated."""

import pytest

from app.domain.evidence.measured import Measured, Subject, measured_faults
from app.domain.naming import PrefixName

PREFIX = Subject("tiny/llama", PrefixName("acme", "voice"))
BASE = Subject("tiny/llama")


def codes(subject, engine="hf", model=None, adapter=None, *, names_adapters=True):
    measured = Measured(engine, model, adapter, names_adapters)
    return [fault.code for fault in measured_faults(measured, subject)]


@pytest.mark.parametrize("engine", ["dummy", "mockllm"])
@pytest.mark.parametrize("subject", [PREFIX, BASE])
def test_a_mock_model_says_nothing_about_an_artifact(subject, engine):
    assert codes(subject, engine, "other/model", "other/voice") == ["no-model"]


@pytest.mark.parametrize(
    ("model", "adapter", "expected"),
    [
        pytest.param("tiny/llama", "acme/voice", [], id="base-and-adapter"),
        pytest.param("mirror/Llama", "hub/Voice@v2", [], id="other-owners-and-case"),
        pytest.param("./base", "./out/adapter", [], id="paths"),
        pytest.param("/models/base", None, [], id="a-path-may-hold-the-adapter"),
        pytest.param("C:\\models\\base", None, [], id="a-path-of-windows"),
        pytest.param("acme/voice", None, [], id="the-prefix-alone"),
        pytest.param(None, None, [], id="nothing"),
        pytest.param("meta/other", "acme/voice", ["another-model"], id="another-base"),
        pytest.param("gpt2", "acme/voice", ["another-model"], id="a-name-without-an-owner"),
        pytest.param("tiny/llama", "acme/other", ["another-adapter"], id="another-adapter"),
        pytest.param("a/b", "c/d", ["another-model", "another-adapter"], id="both"),
        pytest.param("tiny/llama", None, ["no-adapter"], id="the-bare-base"),
        pytest.param("meta/other", None, ["another-model"], id="another-bare-base"),
    ],
)
def test_names_are_compared_with_the_version(model, adapter, expected):
    assert codes(PREFIX, "hf", model, adapter) == expected


@pytest.mark.parametrize(
    ("model", "adapter", "expected"),
    [
        pytest.param("tiny/llama", None, [], id="the-base"),
        pytest.param("meta/other", None, ["another-model"], id="another-base"),
        pytest.param("tiny/llama", "./adapter", ["another-adapter"], id="an-adapter"),
    ],
)
def test_names_are_compared_with_the_base_model(model, adapter, expected):
    assert codes(BASE, "hf", model, adapter) == expected


def test_a_tool_that_names_no_adapters_may_name_the_base():
    assert codes(PREFIX, "vllm", "tiny/llama", names_adapters=False) == []


def test_a_fault_quotes_the_log_and_says_what_to_do():
    (fault,) = measured_faults(Measured("hf", "out/model", "./a"), PREFIX)
    assert fault.message == (
        'The log says model "out/model", and the evaluation is of acme/voice on the base model '
        'tiny/llama. If that is a path, let the tool write it as "./out/model".'
    )
    (fault,) = measured_faults(Measured("hf", "tiny/llama", "./a"), BASE)
    assert "the evaluation is of the base model tiny/llama." in fault.message
