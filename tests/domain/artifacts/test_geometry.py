"""A base model's dimensions, compared with real models."""

import pytest
from safetensors.torch import load

from app.domain.artifacts.geometry import Geometry, GeometryError, geometry_from_config
from tests.support.adapters import LLAMA
from tests.support.trained import BASES, train_tiny

LLAMA_CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": 32,
    "max_position_embeddings": 2048,
}


@pytest.mark.parametrize("base", BASES)
def test_the_derived_heads_are_those_of_the_models_own_cache(base):
    trained = train_tiny(base)

    geometry = geometry_from_config(trained.base_config)

    _, kv_heads, _, head_dim = trained.cache_shape
    assert (geometry.kv_heads, geometry.head_dim) == (kv_heads, head_dim)


@pytest.mark.parametrize("base", BASES)
def test_the_derived_columns_are_those_of_the_prefix_that_peft_saves(base):
    trained = train_tiny(base)

    geometry = geometry_from_config(trained.base_config)

    assert load(trained.weights)["prompt_embeddings"].shape[1] == geometry.columns


@pytest.mark.parametrize(
    ("base", "layers"),
    [("llama", 4), ("gpt2", 3), ("t5", 3), ("bart", 3)],
)
def test_an_encoder_decoder_model_counts_its_encoders_layers(base, layers):
    assert geometry_from_config(train_tiny(base).base_config).layers == layers


@pytest.mark.parametrize(
    ("base", "window"),
    [("llama", 2048), ("gpt2", 64), ("bart", 64), ("t5", None), ("bloom", None)],
)
def test_the_context_window_is_known_if_positions_are_limited(base, window):
    assert geometry_from_config(train_tiny(base).base_config).context_window == window


def test_a_stale_position_count_of_t5_is_not_a_window():
    config = train_tiny("t5").base_config | {"n_positions": 512}

    assert geometry_from_config(config).context_window is None


def test_a_configuration_becomes_a_geometry():
    assert geometry_from_config(LLAMA_CONFIG) == LLAMA


def test_the_geometry_of_a_multimodal_model_is_that_of_its_language_model():
    config = {"model_type": "llava", "hidden_size": 7, "text_config": LLAMA_CONFIG}

    geometry = geometry_from_config(config)

    assert (geometry.model_type, geometry.hidden_size) == ("llava", 32)


def test_a_null_key_is_a_missing_key():
    config = LLAMA_CONFIG | {"num_key_value_heads": None, "head_dim": None}

    assert geometry_from_config(config).columns == 4 * 2 * 32


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"num_hidden_layers": None}, "`num_hidden_layers`", id="no-layers"),
        pytest.param({"num_attention_heads": None}, "`num_attention_heads`", id="no-heads"),
        pytest.param({"hidden_size": None}, "`hidden_size`", id="no-hidden-size"),
        pytest.param({"num_hidden_layers": "4"}, "positive integer", id="a-string"),
        pytest.param({"num_hidden_layers": 4.0}, "positive integer", id="a-fraction"),
        pytest.param({"num_hidden_layers": True}, "positive integer", id="a-bool"),
        pytest.param({"num_hidden_layers": 0}, "positive integer", id="zero"),
        pytest.param({"num_key_value_heads": [2, 4]}, "positive integer", id="a-list"),
        pytest.param({"num_hidden_layers": 10**9}, "layers is 1000000000", id="absurd"),
        pytest.param({"num_attention_heads": 5}, "not divisible by 5", id="uneven-head-dim"),
        pytest.param({"num_key_value_heads": 3}, "share 3 key-value heads", id="uneven-groups"),
        pytest.param({"model_type": None}, "model type", id="no-model-type"),
        pytest.param({"kv_lora_rank": 8}, "`kv_lora_rank`", id="latent-attention"),
        pytest.param({"per_layer_config": {"0": {}}}, "`per_layer_config`", id="uneven-layers"),
        pytest.param({"multi_query_group_num": 2}, "`multi_query_group_num`", id="other-words"),
        pytest.param({"layer_types": ["full_attention", "mamba"]}, "other than", id="hybrid"),
    ],
)
def test_a_geometry_that_cannot_be_derived_is_refused_with_a_remedy(changes, reason):
    with pytest.raises(GeometryError) as caught:
        geometry_from_config(LLAMA_CONFIG | changes)

    assert reason in str(caught.value)
    assert "Give `architecture`" in str(caught.value)


def test_window_types_of_attention_do_not_matter():
    config = LLAMA_CONFIG | {"layer_types": ["sliding_attention", "full_attention"] * 2}

    assert geometry_from_config(config) == LLAMA


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"layers": 0}, id="no-layers"),
        pytest.param({"head_dim": -1}, id="negative"),
        pytest.param({"layers": 10_001}, id="too-many-layers"),
        pytest.param({"context_window": 0}, id="no-window"),
        pytest.param({"kv_heads": 3}, id="uneven-groups"),
        pytest.param({"kv_heads": 8}, id="more-shared-heads-than-heads"),
        pytest.param(
            {"attention_heads": 65_536, "kv_heads": 65_536, "head_dim": 32}, id="too-wide"
        ),
        pytest.param({"model_type": ""}, id="no-model-type"),
        pytest.param({"model_type": "<b>"}, id="markup"),
        pytest.param({"model_type": "llama\n"}, id="line-break"),
    ],
)
def test_an_impossible_geometry_cannot_be_made(changes):
    facts = {name: getattr(LLAMA, name) for name in LLAMA.__slots__}

    with pytest.raises(ValueError, match=r"\.$"):
        Geometry(**(facts | changes))


def test_the_columns_of_llama_3_1_8b_are_known():
    geometry = Geometry("llama", 32, 32, 8, 128, 4096)

    assert (geometry.width, geometry.columns) == (1024, 65_536)


@pytest.mark.parametrize(
    "key",
    [
        "attn_config",
        "block_configs",
        "global_head_dim",
        "kv_lora_rank",
        "multi_query_group_num",
        "n_head_kv",
        "num_global_key_value_heads",
        "per_layer_config",
    ],
)
def test_a_configuration_of_uneven_widths_is_never_guessed_at(key):
    with pytest.raises(GeometryError, match=f"`{key}`"):
        geometry_from_config(LLAMA_CONFIG | {key: 2})
