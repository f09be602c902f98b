"""The pages' libraries: fixed to the byte, from no particular address, and copied whole."""

import json
from pathlib import Path

from tools.vendor import copy_from

ROOT = Path(__file__).parents[2]
LOCKED = json.loads((ROOT / "package-lock.json").read_text())["packages"]


def test_every_package_is_locked_by_its_hash_and_not_to_a_host():
    packages = {path: facts for path, facts in LOCKED.items() if path}
    assert len(packages) == 4
    for path, facts in packages.items():
        assert facts["integrity"].startswith("sha512-"), path
        assert "resolved" not in facts, path


def test_what_is_asked_for_is_an_exact_version():
    asked = json.loads((ROOT / "package.json").read_text())
    for name, version in (asked["dependencies"] | asked["devDependencies"]).items():
        assert LOCKED[f"node_modules/{name}"]["version"] == version


def test_what_browsers_load_is_copied_with_the_licences_and_nothing_is_left_over(tmp_path):
    target = tmp_path / "vendor"
    target.mkdir()
    (target / "old.js").touch()
    copy_from(ROOT / "node_modules", target)
    assert {path.name for path in target.iterdir()} == {
        "pico.min.css",
        "htmx.min.js",
        "uPlot.iife.min.js",
        "uPlot.min.css",
        "pico.LICENSE",
        "htmx.org.LICENSE",
        "uplot.LICENSE",
    }
