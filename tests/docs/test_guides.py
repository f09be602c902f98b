"""README.md and the guides: their shell blocks run as printed, against a server of the tests.

Only names and the address are changed. `make` does nothing, for the server runs already, and
`demo.files` finds its two folders made: training a model takes longer than all the rest.
"""

import json
import os
import re
import sys
import uuid
from pathlib import Path

import pytest

from tests.support.adapters import a_config
from tests.support.builders import weights
from tests.support.markdown_pages import run_in_shell, shell_blocks

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
GUIDES = ROOT / "docs" / "guides"
LONGEST_README = 700
MODEL_CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": 32,
    "head_dim": 8,
}


@pytest.fixture
def checkout(tmp_path, tokens):
    """A folder as the guides expect it: the repository, a served registry's tokens, a model."""
    for name in ("docs", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for name in ("data", "my-model", "my-prefix", "demo", "bin"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "credentials.json").write_text(json.dumps({"tokens": tokens}))
    (tmp_path / "my-model" / "config.json").write_text(json.dumps(MODEL_CONFIG))
    # A model of the test's own, in name and content: no other test has registered either.
    (tmp_path / "my-model" / "model.safetensors").write_bytes(uuid.uuid4().bytes)
    config = a_config(base_model_name_or_path=f"tiny/{uuid.uuid4().hex}")
    (tmp_path / "my-prefix" / "adapter_config.json").write_bytes(config)
    (tmp_path / "my-prefix" / "adapter_model.safetensors").write_bytes(weights())
    for name in ("__init__.py", "files.py"):
        (tmp_path / "demo" / name).touch()
    make = tmp_path / "bin" / "make"
    make.write_text("#!/bin/sh\n")
    make.chmod(0o755)
    return tmp_path


@pytest.fixture
def run(checkout, url, monkeypatch):
    """Run a script in the checkout, under names that no other test uses."""
    monkeypatch.setenv("PATH", f"{checkout / 'bin'}:{os.environ['PATH']}")
    mine = uuid.uuid4().hex[:8]

    def run(script):
        script = script.replace("http://127.0.0.1:8080", url)
        script = re.sub(r"\b(acme|hello|brand-voice|brand-safe)\b", rf"\1-{mine}", script)
        return run_in_shell(script, folder=checkout)

    return run


def read(path):
    return json.loads(path.read_text())


def test_the_ten_lines_of_the_readme_push_approve_and_pull(run, checkout):
    block = re.search(r"^```sh\n(make setup.*?)^```", README, re.DOTALL | re.MULTILINE)[1]
    assert len(block.splitlines()) == 10
    sourced = GUIDES / "quickstart.sh"
    script = block.replace(f". {sourced.relative_to(ROOT)}", "quickstart")

    run(f"quickstart() {{\n{sourced.read_text()}\n}}\n{script}")

    pulled = checkout / "pulled"
    assert (pulled / "adapter_model.safetensors").read_bytes() == weights()
    assert "production" in (pulled / "README.md").read_text()


def test_the_guides_commands_release_serve_and_record_evaluations(run, checkout):
    pages = [(GUIDES / name).read_text() for name in ("first-release.md", "evaluations.md")]

    run("\n".join(shell_blocks(page) for page in pages))

    refused = read(checkout / "refused.json")
    missing = [each["cell"] for each in refused["findings"] if each["outcome"] == "missing"]
    assert missing == [{"persona": "upset", "locale": "en"}]
    assert read(checkout / "promotion.json")["state"] == "pending"
    answers = (checkout / "reviews.jsonl").read_text().split("\n")
    states = [json.loads(line)["state"] for line in answers if line]
    assert states == ["pending", "executed"]
    assert read(checkout / "resolved.json")["digest"] == read(checkout / "version.json")["digest"]
    assert read(checkout / "verified.json")["valid"] is True
    assert read(checkout / "partial.json")["partial"] is True
    log = ROOT / "tests" / "fixtures" / "inspect" / "limited.eval"
    assert (checkout / "log.eval").read_bytes() == log.read_bytes()


def test_the_module_that_makes_a_model_to_try_exists():
    assert (ROOT / "demo" / "files.py").is_file()


def test_the_readme_is_short():
    assert len(README.split()) <= LONGEST_README
