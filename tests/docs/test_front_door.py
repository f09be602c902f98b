"""Licence, changelog, hooks, contributing and decision records say what they must."""

import hashlib
import re
import tomllib

import yaml

from tests.support.markdown_pages import ROOT, rows_after, text_of

PROJECT = tomllib.loads(text_of("pyproject.toml"))["project"]
DECISIONS = ROOT / "docs" / "decisions"
RECORDS = sorted(DECISIONS.glob("0*.md"))
# Of https://www.apache.org/licenses/LICENSE-2.0.txt
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


def test_the_licence_is_the_unmodified_apache_licence():
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2
    assert (PROJECT["license"], PROJECT["license-files"]) == ("Apache-2.0", ["LICENSE"])


def test_the_image_is_built_with_the_licence():
    assert re.search(r"^COPY .*\bLICENSE\b", text_of("docker/Dockerfile"), re.MULTILINE)
    assert "!LICENSE" in text_of(".dockerignore").splitlines()


def test_the_changelog_has_the_version_with_its_date_after_unreleased():
    first, released, *_ = re.findall(r"^## (.*)$", text_of("CHANGELOG.md"), re.MULTILINE)
    assert first == "Unreleased"
    version, _, date = released.partition(" - ")
    assert version == PROJECT["version"]
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", date)


def test_the_hooks_run_the_linters_that_are_installed_and_need_no_other_host():
    [repository] = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    installed = " ".join(PROJECT["optional-dependencies"]["dev"])
    packages = {"ruff": "ruff", "mypy": "mypy", "lint-imports": "import-linter"}
    for hook in repository["hooks"]:
        folder, _, program = hook["entry"].split()[0].rpartition("/")
        assert (folder, hook["language"]) == (".venv/bin", "system")
        assert f"{packages[program]}>=" in installed


def test_contributing_says_first_where_a_review_is_made_to_execute():
    change, files = rows_after("## Where to change what", text_of("CONTRIBUTING.md"))[0]
    assert change.startswith("what a review needs to execute")
    assert "`app/domain/governance/approvals.py`" in files
    assert "`app/services/governance/reviews.py`" in files


def test_contributing_has_seven_steps_for_an_endpoint():
    section = text_of("CONTRIBUTING.md").split("## Add an endpoint in seven steps")[1]
    steps = re.findall(r"^(\d)\. \*\*", section.split("\n## ")[0], re.MULTILINE)
    assert steps == list("1234567")


def test_a_decision_has_a_number_a_title_a_status_and_a_date():
    assert [path.name[:4] for path in RECORDS] == [f"{n:04}" for n in range(1, len(RECORDS) + 1)]
    form = re.compile(
        r"# (\d{4}): [A-Z].*\n\n- Status: (accepted|superseded).*\n- Date: \d{4}-\d{2}-\d{2}\n\n"
    )
    assert [path.name for path in RECORDS if not form.match(path.read_text())] == []


def test_the_index_lists_every_decision_with_its_title():
    rows = rows_after("# Decision records", (DECISIONS / "README.md").read_text())
    titles = [path.read_text().partition("\n")[0] for path in RECORDS]
    expected = [
        [f"[{path.name[:4]}]({path.name})", title.partition(": ")[2]]
        for path, title in zip(RECORDS, titles, strict=True)
    ]
    assert rows == expected
