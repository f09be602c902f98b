"""A prefix for a base model: its properties and cost, and the refusal of everything else."""

from dataclasses import replace

import pytest

from app.domain.artifacts.adapter_config import parse_config
from app.domain.artifacts.geometry import Geometry
from app.domain.artifacts.prefix import (
    PrefixProperties,
    TensorScan,
    check_prefix,
    content_faults,
    scannable,
)
from app.domain.artifacts.safetensors_header import TensorEntry, TensorFile
from tests.support.adapters import LLAMA, TOKENS, a_config

GPT2 = Geometry("gpt2", 2, 4, 4, 8, 32, 64)
FALCON = replace(LLAMA, model_type="falcon", kv_heads=1)


def a_file(*names, dtype="F32", shape=(TOKENS, LLAMA.columns)):
    entries = [TensorEntry(name, dtype, shape, 0, 0) for name in names or ["prompt_embeddings"]]
    return TensorFile(tuple(entries), {})


def checked(config=None, file=None, geometry=LLAMA):
    settings, _ = parse_config(a_config(**(config or {})))
    return check_prefix(settings, file or a_file(), geometry=geometry, base_parameters=10_000)


def codes(config=None, file=None, geometry=LLAMA):
    _, faults = checked(config, file, geometry)
    return [fault.code for fault in faults]


def test_a_prefix_has_properties():
    facts, faults = checked()

    assert faults == ()
    assert facts == PrefixProperties(
        peft_type="PREFIX_TUNING",
        virtual_tokens=3,
        layers=4,
        kv_heads=2,
        head_dim=8,
        dtype="float32",
        parameters=384,
        parameter_fraction=0.0384,
        kv_cache_bytes=768,
        context_share=3 / 2048,
        remarks=(),
    )


def test_a_prefix_for_llama_3_1_8b_costs_what_was_measured():
    geometry = Geometry("llama", 32, 32, 8, 128, 4096, 131_072)
    config = {"num_virtual_tokens": 20, "num_layers": 32, "num_attention_heads": 8}
    settings, _ = parse_config(a_config(**config, token_dim=1024))

    facts, _ = check_prefix(
        settings,
        a_file(dtype="BF16", shape=(20, 65_536)),
        geometry=geometry,
        base_parameters=8_030_261_248,
    )

    assert (facts.dtype, facts.kv_cache_bytes) == ("bfloat16", 2_621_440)
    assert facts.parameter_fraction == pytest.approx(0.00016, rel=0.03)


def test_a_base_without_a_context_window_has_no_share_of_it():
    facts, _ = checked(geometry=replace(LLAMA, context_window=None))

    assert facts.context_share is None


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        pytest.param(TensorFile((), {}), ["tensor-missing"], id="no-tensor"),
        pytest.param(a_file("weight"), ["tensor-missing", "tensor-extra"], id="another-name"),
        pytest.param(a_file("prompt_embeddings", "x"), ["tensor-extra"], id="one-more"),
        pytest.param(a_file(dtype="F64"), ["tensor-dtype"], id="float64"),
        pytest.param(a_file(dtype="I32"), ["tensor-dtype"], id="integer"),
        pytest.param(a_file(dtype="BOOL"), ["tensor-dtype"], id="bool"),
        pytest.param(a_file(dtype="C64"), ["tensor-dtype"], id="complex"),
        pytest.param(a_file(dtype="F8_E4M3"), ["tensor-dtype"], id="float8"),
        pytest.param(a_file(shape=()), ["tensor-rank"], id="scalar"),
        pytest.param(a_file(shape=(384,)), ["tensor-rank"], id="vector"),
        pytest.param(a_file(shape=(3, 4, 32)), ["tensor-rank"], id="three-dimensions"),
        pytest.param(a_file(shape=(0, 128)), ["tensor-empty", "tensor-rows"], id="no-rows"),
        pytest.param(a_file(shape=(2, 128)), ["tensor-rows"], id="too-few-rows"),
        pytest.param(a_file(shape=(3, 64)), ["geometry-columns"], id="too-few-columns"),
        pytest.param(a_file(shape=(3, 192)), ["geometry-columns"], id="surplus-layers"),
        pytest.param(
            a_file("base_model.lm_head.weight", "prompt_embeddings", dtype="I8", shape=(2, 1)),
            ["tensor-extra", "tensor-dtype", "geometry-columns", "tensor-rows"],
            id="all-at-once",
        ),
    ],
)
def test_a_file_that_is_not_a_prefix_is_refused_with_every_fault(file, expected):
    assert codes(file=file) == expected


@pytest.mark.parametrize(
    ("config", "geometry", "expected"),
    [
        pytest.param({"num_layers": 6}, LLAMA, ["geometry-layers"], id="surplus-layers"),
        pytest.param({"num_layers": 2}, LLAMA, ["geometry-layers"], id="missing-layers"),
        pytest.param(
            {"num_attention_heads": 1, "token_dim": 16}, LLAMA, ["geometry-heads"], id="other-heads"
        ),
        pytest.param({"token_dim": 8}, LLAMA, ["geometry-token-dim"], id="other-width"),
        # 2 heads belong to the cache and 32 elements to the queries: PEFT would divide them.
        pytest.param({"token_dim": 32}, LLAMA, ["geometry-token-dim"], id="mixed-up"),
        pytest.param({"token_dim": None}, LLAMA, ["geometry-token-dim"], id="half-left-out"),
        pytest.param(
            {"num_layers": 2, "num_attention_heads": 2, "token_dim": 32},
            GPT2,
            ["geometry-heads"],
            id="gpt-2-heads",
        ),
        pytest.param(
            {"num_layers": 2, "num_attention_heads": 4, "token_dim": 64},
            GPT2,
            ["geometry-token-dim"],
            id="gpt-2-width",
        ),
        pytest.param(
            {"num_attention_heads": 4, "token_dim": 32},
            FALCON,
            ["geometry-heads", "geometry-columns"],
            id="falcon-takes-the-file-literally",
        ),
        pytest.param(
            {},
            Geometry("gemma", 2, 4, 1, 32, 32),
            ["geometry-layers", "geometry-heads"],
            id="another-base-of-equal-columns",
        ),
        pytest.param(
            {}, replace(LLAMA, context_window=3), ["geometry-context"], id="no-room-for-input"
        ),
    ],
)
def test_a_configuration_for_another_base_is_refused(config, geometry, expected):
    shape = (TOKENS, LLAMA.columns)

    assert codes(config, a_file(shape=shape), geometry) == expected


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({"num_attention_heads": 4, "token_dim": 32}, id="stated"),
        pytest.param({"num_attention_heads": None, "token_dim": None}, id="left-out"),
    ],
)
def test_query_heads_of_a_grouped_query_base_are_remarked_on(config):
    facts, faults = checked(config)

    assert faults == ()
    assert "4 query heads" in facts.remarks[0]


def test_a_projected_prefix_is_remarked_on():
    facts, _ = checked({"prefix_projection": True})

    assert "cannot be trained further" in facts.remarks[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("base_model.lm_head.weight", "over the base model's own weight"),
        ("base_model.score.weight", "over the base model's own weight"),
        ("../../x\x00", '"../../x\\u0000"'),
        ("prefix_task_cols", "nothing else"),
    ],
)
def test_an_extra_tensor_is_refused_by_name(name, words):
    _, (fault,) = checked(file=a_file("prompt_embeddings", name))

    assert words in fault.message
    assert name[:3] in fault.message


def test_only_the_first_of_many_extra_tensors_are_named():
    names = [f"lora_{number}" for number in range(1000)]

    _, faults = checked(file=a_file("prompt_embeddings", *names))

    assert len(faults) == 11
    assert faults[-1].message == "990 more tensors are refused for the same reason."


def test_a_part_that_could_not_be_read_does_not_hide_the_faults_of_the_other():
    settings, _ = parse_config(a_config(num_layers=6))
    narrow = a_file(shape=(3, 1))

    without_file = check_prefix(settings, None, geometry=LLAMA, base_parameters=1)
    without_config = check_prefix(None, narrow, geometry=LLAMA, base_parameters=1)

    assert [fault.code for fault in without_file[1]] == ["geometry-layers"]
    assert [fault.code for fault in without_config[1]] == ["geometry-columns"]
    assert without_file[0] is without_config[0] is None


def test_two_unreadable_parts_have_neither_properties_nor_faults():
    assert check_prefix(None, None, geometry=LLAMA, base_parameters=1) == (None, ())


def test_the_elements_are_worth_reading_if_shape_and_type_fit_the_base():
    fitting = a_file("prompt_embeddings", "base_model.score.weight")

    assert scannable(fitting, LLAMA) == fitting.entries[0]
    assert scannable(a_file(dtype="F64"), LLAMA) is None
    assert scannable(a_file("x"), LLAMA) is None


def a_scan(non_finite, first, key_norms, value_norms):
    return TensorScan(non_finite, first, key_norms, value_norms, f"sha256:{'0' * 64}", ())


@pytest.mark.parametrize(
    ("scan", "expected"),
    [
        pytest.param(a_scan(0, None, (1.0, 0.0), (0.0, 0.0)), [], id="one-live-key"),
        pytest.param(a_scan(0, None, (0.0, 0.0), (0.0, 1.0)), [], id="one-live-value"),
        pytest.param(a_scan(0, None, (0.0, 0.0), (0.0, 0.0)), ["tensor-all-zero"], id="all-zero"),
        pytest.param(
            a_scan(2, (0, 1), (float("nan"), 1.0), (1.0, 1.0)),
            ["tensor-not-finite"],
            id="not-finite",
        ),
    ],
)
def test_elements_that_are_no_prefix_are_refused(scan, expected):
    assert [fault.code for fault in content_faults(scan)] == expected


def test_the_first_number_that_is_not_finite_is_located():
    (fault,) = content_faults(a_scan(1200, (7, 3), (1.0,), (1.0,)))

    assert "1,200 elements" in fault.message
    assert "virtual token 7 in layer 3" in fault.message
