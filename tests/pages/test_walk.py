"""From nothing to live with what the pages show: their lines, run as they are printed."""

import os
import re
import subprocess
import uuid

import pytest
from playwright.sync_api import expect

from app.pages.presentation import shell_commands
from tests.support.adapters import a_config
from tests.support.builders import a_digest, weights


@pytest.fixture
def shell(tmp_path, tokens):
    """Run a line that a page shows, as somebody, in a folder that PEFT saved a prefix in."""
    (tmp_path / "adapter_config.json").write_bytes(a_config(base_model_name_or_path="tiny/walk"))
    (tmp_path / "adapter_model.safetensors").write_bytes(weights(7))

    def shell(line, who):
        environment = {"PATH": os.environ["PATH"], "TOKEN": tokens[who], "no_proxy": "127.0.0.1"}
        done = subprocess.run(
            ["bash", "-c", line.replace("curl ", "curl --silent --show-error ", 1)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return done.stdout

    return shell


def lines(page):
    """Return the lines that a page shows, as it shows them."""
    return [each for each in page.locator("figure.line pre").all_text_contents() if "curl" in each]


@pytest.fixture
def bare(world):
    """A world with a base model, a suite and a policy, and nothing below them."""
    document = {"name": "tiny/walk", "digest": a_digest(), "parameters": 1_000_000}
    names = ("model_type", "layers", "attention_heads", "kv_heads", "head_dim", "hidden_size")
    document["architecture"] = dict(zip(names, ("llama", 4, 4, 2, 8, 32), strict=True))
    world.made("POST", "/v1/base-models", by="publisher", json=document)
    world.base = document["digest"]
    world.a_policy()
    return world


def test_the_pages_lead_from_an_empty_prefix_to_a_version_that_is_live(bare, visiting, shell):
    world = bare
    world.a_prefix()
    page = visiting("approver-1", f"/admin/prefixes/{world.prefix}")
    push = next(line for line in lines(page) if "adapter_config.json" in line)
    assert '"number":1' in shell(push.replace("sha256:…", world.base), "publisher")
    bind = next(line for line in lines(page) if "/channels/production" in line)
    shell(re.sub(r'("policy": )"[^"]*"', rf'\1"{world.a_policy()["name"]}"', bind), "admin")

    page.reload()
    page.get_by_role("link", name="production?").click()
    expect(page.get_by_text("The gate does not pass")).to_be_visible()
    missing = page.get_by_role("listitem").filter(has_text="is not measured for")
    expect(missing).to_have_text(
        f"{world.suite}/tone is not measured for novice/en, novice/de, expert/en, expert/de: "
        "record 100 samples or more of each."
    )
    assert lines(page) == [], "only the evaluator knows the harness and the numbers"
    version = world.made("GET", f"{world.path}/versions/1", by="publisher")
    assert version["digest"] in page.get_by_role("main").inner_text()
    assert world.evaluate(version).status_code == 201

    page.reload()
    expect(page.get_by_text("The gate passes")).to_be_visible()
    (request,) = lines(page)
    assert '"state":"pending"' in shell(request, "publisher")

    for who in ("approver-1", "approver-2"):
        reviewing = visiting(who, "/admin/reviews")
        reviewing.get_by_role("link", name=world.prefix).click()
        reviewing.get_by_role("button", name="Approve").click()
        expect(reviewing.get_by_text("Your approval is recorded.")).to_be_visible()
    reviewing.get_by_role("link", name="See the live version").click()
    expect(reviewing.get_by_role("img", name="version 1 100 %")).to_be_visible()


def test_the_lines_for_a_policy_work_one_after_the_other(visiting, shell, url):
    """They are shown where there is no policy yet, which no registry of other tests is."""
    name = f"walk-{uuid.uuid4().hex[:8]}"
    for line, found in (
        (shell_commands.suite(url), "suite"),
        (shell_commands.policy(url), "policy"),
    ):
        assert '"digest"' in shell(line.replace("brand-voice", name), "admin"), found


def test_the_gate_page_names_missing_cells_and_where_evidence_is_recorded(story, visiting):
    page = visiting("approver-1", f"/admin/prefixes/{story.prefix}/versions/4/gate/production")
    missing = page.get_by_role("listitem").filter(has_text="is not measured for")
    assert missing.all_inner_texts() == [
        f"{story.suite}/{metric} is not measured for expert/fr: record 100 samples or more."
        for metric in ("tone", "toxicity")
    ]
    evaluations = f"{story.path}/versions/4/evaluations"
    for path in (f"POST {evaluations}", f"{evaluations}/lm-eval", f"{evaluations}/inspect"):
        expect(page.get_by_text(path, exact=True)).to_be_visible()
    expect(page.get_by_text("The policy needs one row per sample")).to_be_visible()
    assert lines(page) == []


def test_the_gate_page_mentions_rows_only_where_the_policy_needs_them(world, visiting):
    world.a_version()
    world.a_channel()
    page = visiting("approver-1", f"/admin/prefixes/{world.prefix}/versions/1/gate/production")
    expect(page.get_by_text("accepts the registry's own JSON")).to_be_visible()
    expect(page.get_by_text("one row per sample")).to_have_count(0)
