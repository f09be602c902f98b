"""The inspection of an uploaded prefix, from its bytes to its properties or all its faults."""

import itertools
import json
from dataclasses import replace
from io import BytesIO

import pytest
import torch  # noqa: TID251  # creates the tensors

from app.domain.artifacts.geometry import geometry_from_config
from app.storage.artifacts import inspect
from tests.support.adapters import LLAMA, a_config, a_raw_file, a_tensor, a_weights_file, an_entry
from tests.support.tensorfiles import BAD, STRICTER
from tests.support.trained import BASES, runs_in_peft, train_tiny


def inspected(config=None, weights=None, geometry=LLAMA):
    return inspect(
        a_config() if config is None else config,
        BytesIO(a_weights_file() if weights is None else weights),
        geometry=geometry,
        base_parameters=10_000,
    )


def codes(config=None, weights=None):
    return [fault.code for fault in inspected(config, weights).faults]


def with_tensor(tensor):
    return a_weights_file(prompt_embeddings=tensor)


def inspect_trained(trained, base=None):
    return inspect(
        trained.config,
        BytesIO(trained.weights),
        geometry=geometry_from_config((base or trained).base_config),
        base_parameters=trained.base_parameters,
    )


@pytest.mark.parametrize("base", BASES)
def test_a_prefix_that_peft_trained_is_accepted_for_its_base(base):
    trained = train_tiny(base)

    inspection = inspect_trained(trained)

    assert inspection.faults == ()
    _, kv_heads, _, head_dim = trained.cache_shape
    assert (inspection.properties.kv_heads, inspection.properties.head_dim) == (kv_heads, head_dim)
    assert inspection.properties.remarks == ()
    assert len(inspection.scan.key_norms) == inspection.properties.layers
    assert all(norm > 0 for norm in inspection.scan.key_norms + inspection.scan.value_norms)


@pytest.mark.parametrize(
    ("peft_type", "settings"),
    [("CARTRIDGE", {}), ("PREFIX_TUNING", {"prefix_projection": True})],
    ids=["cartridge", "projected"],
)
def test_the_other_ways_to_train_a_prefix_are_accepted(peft_type, settings):
    inspection = inspect_trained(train_tiny("gpt2", peft_type, **settings))

    assert inspection.faults == ()
    assert inspection.properties.peft_type == peft_type


@pytest.mark.parametrize("base", sorted(BASES.keys() - {"llama"}))
def test_a_prefix_that_peft_trained_is_refused_for_another_base(base):
    inspection = inspect_trained(train_tiny(base), train_tiny("llama"))

    assert inspection.properties is None
    assert {fault.code.partition("-")[0] for fault in inspection.faults} == {"geometry"}


def test_equal_columns_do_not_make_a_prefix_for_another_base():
    trained, base = train_tiny("gpt-neo"), train_tiny("llama")

    columns = [geometry_from_config(each.base_config).columns for each in (trained, base)]

    assert columns[0] == columns[1]
    assert [fault.code for fault in inspect_trained(trained, base).faults] == ["geometry-layers"]


def restated(trained):
    """Yield the prefix with its dimensions stated, misstated or left out, in every combination."""
    geometry = geometry_from_config(trained.base_config)
    query_width = geometry.attention_heads * geometry.head_dim
    for layers, heads, token_dim in itertools.product(
        (None, geometry.layers, geometry.layers + 1),
        (None, geometry.kv_heads, geometry.attention_heads, 8),
        (None, geometry.width, geometry.hidden_size, query_width),
    ):
        changes = {"num_layers": layers, "num_attention_heads": heads, "token_dim": token_dim}
        yield replace(trained, config=json.dumps(json.loads(trained.config) | changes).encode())


@pytest.mark.parametrize("base", BASES)
def test_peft_runs_every_accepted_statement_of_dimensions(base):
    trained = train_tiny(base)
    accepted = [each for each in restated(trained) if not inspect_trained(each).faults]

    assert accepted
    assert all(runs_in_peft(each) for each in accepted)


# PEFT ignores the dimensions in the file if the base's configuration has `head_dim`. A geometry
# does not record whether that was stated or computed, so the registry is stricter than PEFT here.
@pytest.mark.parametrize("base", ["qwen2", "gpt2", "bigcode", "falcon", "t5", "t5-wide", "bart"])
def test_peft_fails_on_every_refused_statement_of_dimensions(base):
    trained = train_tiny(base)
    refused = [each for each in restated(trained) if inspect_trained(each).faults]

    assert refused
    assert not any(runs_in_peft(each) for each in refused)


@pytest.mark.parametrize(("weights", "expected"), (BAD | STRICTER).values(), ids=BAD | STRICTER)
def test_a_bad_container_is_refused_and_its_elements_are_not_read(weights, expected):
    inspection = inspected(weights=weights)

    found = [fault.code for fault in inspection.faults]
    assert found[: len(expected)] == expected
    assert inspection.properties is inspection.scan is None


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        pytest.param(a_tensor() * float("nan"), "tensor-not-finite", id="nan"),
        pytest.param(a_tensor() * float("inf"), "tensor-not-finite", id="inf"),
        pytest.param(a_tensor() * 0, "tensor-all-zero", id="all-zero"),
        pytest.param(a_tensor(dtype=torch.float64), "tensor-dtype", id="float64"),
        pytest.param(a_tensor(dtype=torch.complex64), "tensor-dtype", id="complex"),
        pytest.param(a_tensor(dtype=torch.int64), "tensor-dtype", id="integer"),
        pytest.param(a_tensor(dtype=torch.bool), "tensor-dtype", id="bool"),
        pytest.param(a_tensor(dtype=torch.float8_e4m3fn), "tensor-dtype", id="float8"),
        pytest.param(a_tensor().view(3, 4, 32), "tensor-rank", id="three-dimensions"),
        pytest.param(a_tensor(rows=4), "tensor-rows", id="surplus-row"),
        pytest.param(a_tensor(columns=192), "geometry-columns", id="surplus-layers"),
    ],
)
def test_a_tensor_that_is_not_a_prefix_is_refused(tensor, expected):
    assert codes(weights=with_tensor(tensor)) == [expected]


@pytest.mark.parametrize("name", ["base_model.lm_head.weight", "base_model.score.weight"])
def test_a_file_that_would_replace_weights_of_the_base_is_refused(name):
    weights = a_weights_file(**{"prompt_embeddings": a_tensor(), name: torch.ones(2, 2)})

    (fault,) = inspected(weights=weights).faults

    assert fault.code == "tensor-extra"
    assert name in fault.message


def test_the_faults_of_every_part_are_reported_together():
    tensor = a_tensor(rows=4)
    tensor[0, 0] = float("nan")
    weights = a_weights_file(prompt_embeddings=tensor, more=torch.ones(1))

    assert codes(a_config(num_layers=6, revision=1), weights) == [
        "config-wrong-type",
        "geometry-layers",
        "tensor-extra",
        "tensor-rows",
        "tensor-not-finite",
    ]


def test_an_unreadable_configuration_does_not_hide_the_faults_of_the_weights():
    assert codes(b"{", with_tensor(a_tensor() * 0)) == ["config-json", "tensor-all-zero"]


def test_an_adapter_of_another_type_is_refused_with_its_tensors_named():
    weights = a_weights_file(**{"base_model.model.q_proj.lora_A.weight": torch.ones(2, 2)})

    found = codes(a_config(peft_type="LORA"), weights)

    assert found == ["config-peft-type", "tensor-missing", "tensor-extra"]


def test_a_prefix_may_lie_at_any_address():
    """The format does not require aligned data, and the scan copies the data anyway."""
    entry = an_entry(shape=[3, LLAMA.columns], data_offsets=[0, 12 * LLAMA.columns])
    data = a_weights_file()[-12 * LLAMA.columns :]
    aligned = a_raw_file({"prompt_embeddings": entry}, data)
    header = aligned[8 : -len(data)]

    for padding in range(4):
        inspection = inspected(weights=a_raw_file(header + b" " * padding, data))

        assert inspection.faults == ()
        assert inspection.scan == inspected().scan


def test_the_position_of_the_file_does_not_matter():
    file = BytesIO(a_weights_file())
    file.seek(100)

    assert inspect(a_config(), file, geometry=LLAMA, base_parameters=1).faults == ()
