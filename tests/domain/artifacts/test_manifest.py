"""A version's digest depends on its content alone, and anyone can compute it."""

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.artifacts.manifest import ArtifactFile, manifest_digest, manifest_of, revision_of
from tests.support.evidence import a_digest

CONFIG = ArtifactFile("adapter_config.json", a_digest("config"), 512)
WEIGHTS = ArtifactFile("adapter_model.safetensors", a_digest("weights"), 65_624)
BASE = a_digest("base")

files_of_a_version = st.lists(
    st.builds(
        ArtifactFile,
        name=st.text(st.characters(max_codepoint=127), min_size=1),
        sha256=st.binary().map(lambda data: f"sha256:{hashlib.sha256(data).hexdigest()}"),
        size_bytes=st.integers(0, 2**40),
    ),
    unique_by=lambda file: file.name,
    max_size=5,
)


def digest_of(*files, base_model=BASE, peft_type="PREFIX_TUNING"):
    return manifest_digest(manifest_of(files, base_model=base_model, peft_type=peft_type))


@given(files=files_of_a_version, random=st.randoms())
def test_the_digest_does_not_depend_on_the_order_of_the_files(files, random):
    assert digest_of(*random.sample(files, len(files))) == digest_of(*files)


@given(files_of_a_version)
def test_any_json_library_and_sha256_reproduce_the_digest(files):
    document = {
        "schema": "prefix-registry/manifest/v1",
        "base_model": BASE,
        "peft_type": "PREFIX_TUNING",
        "files": [vars_of(file) for file in sorted(files, key=lambda file: file.name)],
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    assert digest_of(*files) == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def vars_of(file):
    return {"name": file.name, "sha256": file.sha256, "size_bytes": file.size_bytes}


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(digest_of(CONFIG), id="a-file-fewer"),
        pytest.param(digest_of(CONFIG, replace(WEIGHTS, name="weights")), id="a-name"),
        pytest.param(digest_of(CONFIG, replace(WEIGHTS, sha256=CONFIG.sha256)), id="bytes"),
        pytest.param(digest_of(CONFIG, replace(WEIGHTS, size_bytes=1)), id="a-size"),
        pytest.param(digest_of(CONFIG, WEIGHTS, base_model=a_digest("b")), id="the-base-model"),
        pytest.param(digest_of(CONFIG, WEIGHTS, peft_type="CARTRIDGE"), id="the-type"),
    ],
)
def test_every_property_of_a_version_changes_its_digest(other):
    assert other != digest_of(CONFIG, WEIGHTS)


def test_the_revision_is_the_first_forty_digits_of_the_digest():
    digest = digest_of(CONFIG, WEIGHTS)

    assert digest == f"sha256:{revision_of(digest)}{digest[-24:]}"
    assert len(revision_of(digest)) == 40
