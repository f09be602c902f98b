"""Unmodified Hugging Face clients push: a commit becomes a new, unapproved version."""

import hashlib
import json
import os
import subprocess
import sys

import httpx2
import huggingface_hub
import pytest
import torch  # noqa: TID251  # compares the outputs of models
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError

from app.hub.commit import REGULAR_LIMIT_BYTES
from tests.support.adapters import a_config
from tests.support.builders import a_base_model, weights


@pytest.fixture
def api(url, tokens):
    return HfApi(endpoint=url, token=tokens["publisher"])


@pytest.fixture
def base(world):
    """A registered base model with a unique name."""
    document = a_base_model(name=f"{world.namespace}/base")
    world.made("POST", "/v1/base-models", by="publisher", json=document)
    return document


def an_adapter(folder, *, readme=None, **config):
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_bytes(a_config(**config))
    (folder / "adapter_model.safetensors").write_bytes(weights())
    if readme is not None:
        (folder / "README.md").write_text(readme)
    return folder


def upload(api, world, folder):
    api.create_repo(world.prefix, exist_ok=True)
    return api.upload_folder(repo_id=world.prefix, folder_path=folder)


def test_an_uploaded_folder_becomes_the_next_version(world, api, base, tmp_path):
    folder = an_adapter(tmp_path / "a", base_model_name_or_path=base["name"], revision="main")

    info = upload(api, world, folder)

    version = world.made("GET", f"{world.path}/versions/1", by="publisher")
    assert version["revision"] == info.oid
    assert (version["base_model"], version["channels"]) == (base["digest"], [])
    assert world.actions() == ["prefix.create", "version.push"]


def test_the_base_can_be_named_by_digest_in_the_readme(world, api, base, tmp_path):
    readme = (
        f"---\nbase_digest: {base['digest']}\nlicense: mit\nintended_purpose: Be kind.\n"
        "uses: [tone]\ndatasets: [dialogues]\n---\n# Kind\n"
    )
    folder = an_adapter(tmp_path / "a", readme=readme, base_model_name_or_path="./base")

    upload(api, world, folder)

    version = world.made("GET", f"{world.path}/versions/1", by="publisher")
    assert version["card"] == {
        "licence": "mit",
        "intended_purpose": "Be kind.",
        "uses": ["tone"],
        "training_data": [{"name": "dialogues"}],
    }


def test_an_ambiguous_base_model_name_is_refused_with_a_remedy(world, api, base, tmp_path):
    other = a_base_model(name=base["name"], revision="other")
    world.made("POST", "/v1/base-models", by="publisher", json=other)
    folder = an_adapter(tmp_path / "a", base_model_name_or_path=base["name"])

    with pytest.raises(HfHubHTTPError, match="2 base models have the name"):
        upload(api, world, folder)


def test_an_unknown_base_is_refused(world, api, tmp_path):
    folder = an_adapter(tmp_path / "a", base_model_name_or_path="no/such")
    with pytest.raises(HfHubHTTPError, match="No base model is registered as no/such"):
        upload(api, world, folder)


def test_a_bad_artifact_is_refused_with_its_faults(world, api, base, tmp_path):
    folder = an_adapter(tmp_path / "a", base_model_name_or_path=base["name"], peft_type="LORA")
    with pytest.raises(HfHubHTTPError, match="LORA"):
        upload(api, world, folder)
    assert world.made("GET", f"{world.path}/versions", by="publisher")["items"] == []


@pytest.mark.parametrize(
    ("operations", "sentence"),
    [
        pytest.param(
            [CommitOperationAdd("adapter_config.json", a_config())],
            "adapter_model.safetensors is missing",
            id="half-an-adapter",
        ),
        pytest.param(
            [CommitOperationAdd("pytorch_model.bin", b"pickle")],
            "pytorch_model.bin is not a file of a prefix adapter",
            id="a-foreign-file",
        ),
        pytest.param(
            [CommitOperationDelete("adapter_config.json")],
            "versions never change",
            id="a-deletion",
        ),
    ],
)
def test_an_incomplete_or_foreign_commit_is_refused(world, api, operations, sentence):
    api.create_repo(world.prefix)
    with pytest.raises(HfHubHTTPError, match=sentence):
        api.create_commit(world.prefix, operations, commit_message="change")


def test_a_commit_to_a_channel_is_refused(world, api, base, tmp_path):
    folder = an_adapter(tmp_path / "a", base_model_name_or_path=base["name"])
    api.create_repo(world.prefix)
    with pytest.raises(HfHubHTTPError, match="commit to main"):
        api.upload_folder(repo_id=world.prefix, folder_path=folder, revision="production")


def test_creating_an_existing_repository_is_a_conflict_with_its_address(world, api, url):
    api.create_repo(world.prefix)
    assert api.create_repo(world.prefix, exist_ok=True).repo_id == world.prefix
    with pytest.raises(HfHubHTTPError):
        api.create_repo(world.prefix)


def test_a_reader_cannot_push(world, url, tokens, tmp_path):
    api = HfApi(endpoint=url, token=tokens["reader"])
    with pytest.raises(HfHubHTTPError):
        upload(api, world, an_adapter(tmp_path / "a"))


@pytest.fixture
def hub(url, tokens, monkeypatch):
    """Point the Hugging Face libraries of this process at the registry, as $HF_ENDPOINT does."""
    constants = huggingface_hub.constants
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", url)
    monkeypatch.setenv("HF_TOKEN", tokens["publisher"])


def run(code, url, token, home, *arguments):
    """Run a program with the environment of a user of huggingface_hub."""
    environment = os.environ | {
        "HF_ENDPOINT": url,
        "HF_TOKEN": token,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    command = [sys.executable, "-c", code, *map(str, arguments)]
    subprocess.run(command, env=environment, check=True)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of the libraries' own parts
def test_peft_pulls_the_same_model_that_it_pushed(world, hub, tokens, trained_llama, tmp_path):
    trained = trained_llama
    document = a_base_model(
        name=str(trained.base),
        revision=None,
        architecture=None,
        config=json.loads((trained.base / "config.json").read_text()),
    )
    world.base = document["digest"]
    world.made("POST", "/v1/base-models", by="publisher", json=document)
    pushed = with_prefix(trained.base, trained.adapter)
    pushed.push_to_hub(world.prefix)
    world.a_channel()
    version = world.made("GET", f"{world.path}/versions/1", by="publisher")
    assert world.evaluate(version).status_code == 201
    world.approve(world.request(version).json())
    access = {"revision": "production", "token": tokens["reader"]}
    pulled = with_prefix(trained.base, world.prefix, cache_dir=tmp_path / "cache", **access)
    assert torch.equal(logits(pushed), logits(pulled))


def with_prefix(base, source, **options):
    import peft  # noqa: PLC0415 - a slow import, as is the next
    import transformers  # noqa: PLC0415

    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    return peft.PeftModel.from_pretrained(model, source, **options)


def logits(model):
    with torch.no_grad():
        return model.eval()(torch.arange(8).reshape(1, 8)).logits


def test_a_large_file_goes_to_the_store_first(world, url, tokens, monkeypatch, tmp_path):
    """As Git LFS, which huggingface_hub uses when its own protocol is disabled."""
    monkeypatch.setattr("app.hub.push.REGULAR_LIMIT_BYTES", 64)
    document = a_base_model(name=f"{world.namespace}/base")
    world.made("POST", "/v1/base-models", by="publisher", json=document)
    folder = an_adapter(tmp_path / "a", base_model_name_or_path=document["name"])
    code = f"""
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo({world.prefix!r})
api.upload_folder(repo_id={world.prefix!r}, folder_path=sys.argv[1])
"""
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    run(code, url, tokens["publisher"], tmp_path / "home", folder)

    version = world.made("GET", f"{world.path}/versions/1", by="publisher")
    assert version["files"][1]["size_bytes"] == len(weights())
    assert len(weights()) < REGULAR_LIMIT_BYTES


@pytest.mark.parametrize(
    ("sent", "is_taken"), [(b"right", True), (b"wrong", False), (b"right and more", False)]
)
def test_a_git_lfs_url_takes_only_the_announced_bytes(world, sent, is_taken):
    """With the headers of the action, as Git LFS sends it, and without, as huggingface_hub does."""
    world.a_version()
    oid = hashlib.sha256(b"right").hexdigest()
    body = {"operation": "upload", "objects": [{"oid": oid, "size": 5}]}
    path = f"/{world.prefix}.git/info/lfs/objects/batch"
    batch = world.made("POST", path, by="publisher", json=body)
    upload = batch["objects"][0]["actions"]["upload"]
    length = {"Content-Length": str(len(sent))}
    for headers in (upload["header"] | length, {}):
        assert httpx2.put(upload["href"], headers=headers, content=sent).is_success is is_taken


def test_a_large_file_without_git_lfs_is_refused_with_the_setting(
    world, api, base, monkeypatch, tmp_path, caplog
):
    monkeypatch.setattr("app.hub.push.REGULAR_LIMIT_BYTES", 64)
    with pytest.raises(ConnectionError):
        upload(api, world, an_adapter(tmp_path / "a", base_model_name_or_path=base["name"]))
    assert "HF_HUB_DISABLE_XET=1" in caplog.text


def test_merge_keys_in_a_card_are_refused_with_their_line(world, api, base, tmp_path):
    levels = "".join(
        f"l{n}: &l{n}\n" + "".join(f"  <<: *l{n - 1}\n  k{n}-{k}: 1\n" for k in range(9))
        for n in range(1, 40)
    )
    readme = f"---\nl0: &l0 {{a: 1}}\n{levels}---\n"
    folder = an_adapter(tmp_path / "a", readme=readme, base_model_name_or_path=base["name"])
    with pytest.raises(HfHubHTTPError, match="Line 4, column 3, has a merge key"):
        upload(api, world, folder)
    assert world.made("GET", f"{world.path}/versions", by="publisher")["items"] == []


def test_a_card_with_a_repeated_key_is_refused_with_both_lines(world, api, base, tmp_path):
    readme = "---\nlicense: mit\ndatasets: [a]\nlicense: other\n---\n"
    folder = an_adapter(tmp_path / "a", readme=readme, base_model_name_or_path=base["name"])
    with pytest.raises(
        HfHubHTTPError, match='Line 4, column 1, repeats the key "license" of line 2'
    ):
        upload(api, world, folder)


def test_a_card_that_is_not_yaml_is_refused(world, api, base, tmp_path):
    readme = "---\nlicense: [mit\n---\n"
    folder = an_adapter(tmp_path / "a", readme=readme, base_model_name_or_path=base["name"])
    with pytest.raises(HfHubHTTPError, match="not valid YAML"):
        upload(api, world, folder)
