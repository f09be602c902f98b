"""The digest of a base model equals the output of coreutils."""

import hashlib
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.artifacts.weights_digest import weights_digest

COMMAND = "sha256sum *.safetensors | LC_ALL=C sort -k2 | sha256sum"
ODD_NAMES = [
    "model-00002-of-00010.safetensors",
    "model-00010-of-00010.safetensors",
    "Model.safetensors",
    "model.safetensors",
    "model 1.safetensors",
    " leading.safetensors",
    "two  spaces.safetensors",
    "_.safetensors",
    "~.safetensors",
    "Ünïcode.safetensors",
    "模型.safetensors",
    "\U0001f600.safetensors",
    "\uff5e.safetensors",
    "quote'\".safetensors",
    "star*.safetensors",
    "tab\t.safetensors",
]
ESCAPED_NAMES = ["back\\slash.safetensors", "line\nbreak.safetensors", "\\.safetensors"]


def printed(folder):
    """Return the digest that the documented command prints in `folder`."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", COMMAND],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.split()[0]


def filled(folder, names):
    """Write a file with different content under each name; return the digests by name."""
    for name in names:
        (folder / name).write_bytes(f"weights of {name!r}".encode())
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("*.safetensors")
    }


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["model.safetensors"], id="one-file"),
        pytest.param([f"model-{n:05}-of-00012.safetensors" for n in range(1, 13)], id="shards"),
        pytest.param(ODD_NAMES, id="odd-names"),
        pytest.param(ODD_NAMES + ESCAPED_NAMES, id="names-that-sha256sum-escapes"),
    ],
)
def test_the_digest_is_the_output_of_coreutils(names, tmp_path):
    files = filled(tmp_path, names)

    assert len(files) == len(names)
    assert weights_digest(files) == f"sha256:{printed(tmp_path)}"


def test_a_name_that_is_not_utf_8_has_a_digest_too(tmp_path):
    files = filled(tmp_path, ["caf\udce9.safetensors", "caf\u00e9.safetensors"])

    assert weights_digest(files) == f"sha256:{printed(tmp_path)}"


@given(
    files=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.just("0" * 64)),
    random=st.randoms(),
)
def test_the_digest_does_not_depend_on_the_order_of_the_files(files, random):
    shuffled = dict(random.sample(list(files.items()), len(files)))

    assert weights_digest(shuffled) == weights_digest(files)


def test_weights_and_names_both_count():
    digests = {
        weights_digest({"a.safetensors": "0" * 64}),
        weights_digest({"a.safetensors": "1" * 64}),
        weights_digest({"b.safetensors": "0" * 64}),
    }

    assert len(digests) == 3
