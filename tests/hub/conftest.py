"""A base model and a trained prefix in folders, as PEFT users have them."""

import json
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def trained_llama(tmp_path_factory):
    """A tiny Llama in `base`, and in `adapter` a prefix that PEFT trained for its shape."""
    import transformers  # noqa: PLC0415 - a slow import that only these tests need

    from tests.support.trained import train_tiny  # noqa: PLC0415

    trained = train_tiny("llama")
    base = tmp_path_factory.mktemp("base")
    config = transformers.AutoConfig.for_model(**trained.base_config)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(base)
    adapter = tmp_path_factory.mktemp("adapter")
    settings = json.loads(trained.config) | {"base_model_name_or_path": str(base)}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    (adapter / "adapter_model.safetensors").write_bytes(trained.weights)
    return SimpleNamespace(base=base, adapter=adapter)
