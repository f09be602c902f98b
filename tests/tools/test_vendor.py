"""The pages' libraries: pinned by hash, independent of a host, and copied completely."""

import json
from pathlib import Path

from tools.vendor import copy_from

ROOT = Path(__file__).parents[2]
LOCKED = json.loads((ROOT / "package-lock.json").read_text())["packages"]


def test_every_package_is_locked_by_its_hash_and_not_to_a_host():
    packages = {path: facts for path, facts in LOCKED.items() if path}
    assert len(packages) == 6
    for path, facts in packages.items():
        assert facts["integrity"].startswith("sha512-"), path
        assert "resolved" not in facts, path


def test_every_requested_version_is_exact():
    manifest = json.loads((ROOT / "package.json").read_text())
    for name, version in (manifest["dependencies"] | manifest["devDependencies"]).items():
        assert LOCKED[f"node_modules/{name}"]["version"] == version


def test_files_for_browsers_are_copied_with_their_licences_and_old_ones_are_removed(tmp_path):
    target = tmp_path / "vendor"
    target.mkdir()
    (target / "old.js").touch()
    copy_from(ROOT / "node_modules", target)
    assert {path.name for path in target.iterdir()} == {
        "pico.min.css",
        "htmx.min.js",
        "swagger-ui-bundle.js",
        "swagger-ui.css",
        "uPlot.iife.min.js",
        "uPlot.min.css",
        "pico.LICENSE",
        "htmx.org.LICENSE",
        "swagger-ui-dist.LICENSE",
        "swagger-ui-dist.NOTICE",
        "swagger-ui-dist.swagger-ui-bundle.js.LICENSE.txt",
        "uplot.LICENSE",
    }
