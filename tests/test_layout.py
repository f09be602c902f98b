"""The layout of the code: folders that one can scan, and tests that mirror the modules."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
APP = ROOT / "app"
TESTS = ROOT / "tests"
MOST_MODULES = 21
# One module per concept or resource: flat, because grouping either would create cycles.
MORE_MODULES = {APP / "api": 27, APP / "db": 27}
FEWEST_LINES = 20
SMALL_BY_DESIGN = {
    APP / "cli" / "__main__.py",  # Python demands this name
    APP / "db" / "schema.py",  # a server reads the revision without importing Alembic
    APP / "http" / "request_ids.py",  # the process that starts workers imports it without FastAPI
}
# Tests of a whole ring, or of several of its modules at once.
WHOLE_RING = {
    "cli/test_cli.py",
    "db/test_statement_counts.py",
    "pages/test_accessibility.py",
    "pages/test_browser.py",
    "pages/test_growth.py",
    "pages/test_page_contents.py",
    "pages/test_pages.py",
    "pages/test_walk.py",
    "services/artifacts/test_registration.py",
}


def modules_in(folder):
    return [path for path in folder.glob("*.py") if path.name != "__init__.py"]


def folders_below(root):
    return [root, *(path for path in root.rglob("*") if path.is_dir())]


def test_no_folder_holds_more_modules_than_one_can_scan():
    crowded = {
        str(folder.relative_to(ROOT)): len(modules_in(folder))
        for root in (APP, TESTS)
        for folder in folders_below(root)
        if len(modules_in(folder)) > MORE_MODULES.get(folder, MOST_MODULES)
    }
    assert crowded == {}


def test_a_module_is_long_enough_to_stand_alone():
    small = {
        path
        for folder in folders_below(APP)
        for path in modules_in(folder)
        if len(path.read_text().splitlines()) < FEWEST_LINES
    }
    assert small == SMALL_BY_DESIGN


def test_every_package_says_what_belongs_there():
    silent = [
        str(path.relative_to(ROOT))
        for path in APP.rglob("__init__.py")
        if not path.read_text().startswith('"""')
    ]
    assert silent == []


def test_a_test_file_has_the_name_of_the_module_that_it_tests():
    """`test_gate_evidence.py` tests an aspect of `gate.py`, in the folder that mirrors its own."""
    misplaced = {
        str(path.relative_to(TESTS))
        for path in TESTS.rglob("test_*.py")
        if (APP / path.relative_to(TESTS).parts[0]).is_dir() and not is_mirrored(path)
    }
    assert misplaced == WHOLE_RING


def is_mirrored(path):
    folder = APP / path.relative_to(TESTS).parent
    if not folder.is_dir():
        return False
    stem = path.stem.removeprefix("test_")
    names = {each.stem for each in folder.iterdir() if each.suffix == ".py" or each.is_dir()}
    return any(stem == name or stem.startswith(f"{name}_") for name in names)
