"""Unmodified Hugging Face clients pull under the registry's governance."""

import subprocess
import sys

import httpx2
import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.support.adapters import a_config


@pytest.fixture
def api(url, tokens):
    """Return a client for one of the first principals, or for a token."""
    return lambda by="reader": HfApi(endpoint=url, token=tokens.get(by, by))


@pytest.fixture
def download(url, tokens, tmp_path):
    def download(repo_id, filename, *, by="reader", **arguments):
        return hf_hub_download(
            repo_id,
            filename,
            endpoint=url,
            token=tokens.get(by, by),
            cache_dir=tmp_path / "cache",
            **arguments,
        )

    return download


def read(path):
    with open(path, "rb") as file:  # noqa: PTH123 - a path as the client returns it
        return file.read()


@pytest.mark.parametrize("revision", ["main", "production", "v1", None])
def test_any_name_of_a_live_version_downloads_its_bytes(world, download, revision):
    version = world.a_live_version()

    path = download(world.prefix, "adapter_model.safetensors", revision=revision)

    assert read(path) == world.weights()
    assert f"/snapshots/{version['revision']}/" in path


def test_a_snapshot_holds_the_adapter_and_a_generated_card(world, url, tokens, tmp_path):
    version = world.a_live_version()

    folder = snapshot_download(
        world.prefix, endpoint=url, token=tokens["publisher"], cache_dir=tmp_path
    )

    assert read(f"{folder}/adapter_config.json") == a_config()
    assert read(f"{folder}/adapter_model.safetensors") == world.weights()
    card = read(f"{folder}/README.md").decode()
    assert version["digest"] in card
    assert world.base in card
    assert "approved by approver-1, approver-2" in card
    assert "| tone | novice | en | 200 | 0 | 0.95 |" in card


def test_a_readers_card_shows_neither_evidence_nor_hidden_channels(world):
    version = world.a_live_version()
    world.a_channel("staging")
    world.approve(world.request(version, channel="staging").json())
    path = f"/{world.prefix}/resolve/{version['revision']}/README.md"
    limited = world.a_token("reader", channels=["staging"])

    full = world.call("GET", path, by="publisher").text
    read_by_reader = world.call("GET", path, by="reader").text
    read_by_limited = world.call("GET", path, by=limited).text

    assert "## Evaluations" in full
    for card in (read_by_reader, read_by_limited):
        assert version["digest"] in card
        assert "in the brand" in card
        assert "Evaluations" not in card
        assert "approver" not in card
    assert "production, staging" in read_by_reader
    assert "production" not in read_by_limited


def test_a_promotion_between_two_requests_cannot_mix_versions(world, url, tokens):
    first = world.a_live_version(seed=1)
    headers = {"Authorization": f"Bearer {tokens['reader']}"}
    path = f"{url}/{world.prefix}/resolve/production/adapter_model.safetensors"
    head = httpx2.head(path, headers=headers)
    assert head.status_code == 307
    assert head.headers["X-Repo-Commit"] == first["revision"]

    world.a_live_version(seed=2)
    response = httpx2.get(f"{url}{head.headers['Location']}", headers=headers)

    # The redirect names the first version, which is no longer served. The response is a refusal
    # rather than the bytes of another version.
    assert response.headers["X-Error-Code"] == "GatedRepo"


def test_model_information_names_files_sizes_and_digests(world, api):
    version = world.a_live_version()

    info = api().model_info(world.prefix, files_metadata=True)

    assert (info.id, info.sha) == (world.prefix, version["revision"])
    sizes = {sibling.rfilename: sibling.size for sibling in info.siblings}
    assert sizes["adapter_model.safetensors"] == len(world.weights())
    (large,) = [sibling.lfs for sibling in info.siblings if sibling.lfs]
    assert f"sha256:{large.sha256}" == version["files"][1]["sha256"]


def test_channels_are_branches_and_main_is_production(world, api):
    version = world.a_live_version()
    world.a_channel("staging")

    branches = api().list_repo_refs(world.prefix).branches

    found = {branch.name: branch.target_commit for branch in branches}
    assert found == {"main": version["revision"], "production": version["revision"]}


def test_a_client_can_query_its_own_name(api):
    assert api("reader").whoami()["name"] == "reader"


def test_clients_can_check_existence(world, api):
    world.a_live_version()
    assert api().repo_exists(world.prefix)
    assert not api().repo_exists(f"{world.namespace}/other")
    assert api().file_exists(world.prefix, "adapter_config.json")
    assert not api().file_exists(world.prefix, "adapter_model.bin")


def test_an_empty_channel_is_a_revision_that_is_not_found(world, api, download):
    world.an_evaluated_version()
    with pytest.raises(RevisionNotFoundError, match="serves nothing yet"):
        download(world.prefix, "adapter_config.json", by="publisher", revision="production")


def test_a_revoked_version_is_refused_with_its_reason(world, download):
    world.a_live_version()
    reason = {"reason": "it leaks a name"}
    world.made("POST", f"{world.path}/versions/1/revoke", by="approver-1", json=reason)
    with pytest.raises(RevisionNotFoundError, match="it leaks a name"):
        download(world.prefix, "adapter_config.json", by="publisher", revision="v1")


@pytest.mark.parametrize("revision", ["v2", "v9"])
def test_unreleased_and_absent_versions_are_both_gated_for_readers(world, download, revision):
    world.a_live_version(seed=1)
    world.a_version(seed=2)
    with pytest.raises(GatedRepoError, match="No channel that you may read serves"):
        download(world.prefix, "adapter_config.json", revision=revision)


def test_a_missing_grant_looks_like_a_missing_repository(world, download):
    world.a_live_version()
    _, stranger = world.a_principal(None, ("reader", "elsewhere"))
    with pytest.raises(RepositoryNotFoundError):
        download(world.prefix, "adapter_config.json", by=stranger)


def test_a_bad_token_looks_like_a_missing_repository(world, download):
    world.a_live_version()
    with pytest.raises(RepositoryNotFoundError):
        download(world.prefix, "adapter_config.json", by="prg_wrong")


def test_an_unknown_file_is_not_found(world, download):
    world.a_live_version()
    with pytest.raises(EntryNotFoundError):
        download(world.prefix, "adapter_model.bin")


def test_an_unknown_revision_is_not_found(world, download):
    world.a_live_version()
    with pytest.raises(RevisionNotFoundError, match="has no revision nightly"):
        download(world.prefix, "adapter_config.json", by="publisher", revision="nightly")


def test_an_interrupted_transfer_resumes_by_range(world, url, tokens):
    version = world.a_live_version()
    path = f"{url}/{world.prefix}/resolve/{version['revision']}/adapter_model.safetensors"
    headers = {"Authorization": f"Bearer {tokens['reader']}", "Range": "bytes=100-"}
    response = httpx2.get(path, headers=headers)
    assert (response.status_code, response.content) == (206, world.weights()[100:])


def test_the_command_line_downloads(world, url, tokens, tmp_path):
    world.a_live_version()
    environment = {
        "HF_ENDPOINT": url,
        "HF_TOKEN": tokens["reader"],
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PATH": "",
    }
    command = [sys.executable, "-c", "from huggingface_hub.cli.hf import main; main()"]
    subprocess.run(
        [*command, "download", world.prefix, "--local-dir", str(tmp_path / "out")],
        env=environment,
        check=True,
        capture_output=True,
    )
    assert read(tmp_path / "out" / "adapter_model.safetensors") == world.weights()


def test_model_information_without_metadata_names_the_files_alone(world, api):
    world.a_live_version()
    info = api().model_info(world.prefix)
    assert {sibling.size for sibling in info.siblings} == {None}
    assert {sibling.blob_id for sibling in info.siblings} == {None}
