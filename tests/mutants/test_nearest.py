"""The tests nearest to a module: by its name, by the table, or those of its room."""

from dataclasses import replace
from pathlib import Path

import pytest

from tools.mutants.nearest import (
    Table,
    broad_tests,
    nearest_tests,
    own_tests,
    rooms_tests,
)

ROOT = Path(__file__).parents[2]
TABLE = Table.read(Path(__file__).with_name("nearest.toml"))


@pytest.fixture
def tree(tmp_path):
    """A repository with two rooms in two rings."""
    for path in (
        "domain/room/test_gate.py",
        "domain/room/test_gate_facts.py",
        "domain/room/test_gates.py",
        "services/room/test_gate.py",
        "services/room/test_reviews.py",
        "system/test_everything.py",
    ):
        (tmp_path / "tests" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tests" / path).touch()
    return tmp_path


def a_table(*, modules=None, slow=(), folders=None):
    return Table(modules or {}, slow=slow, races=(), folders=folders or {})


def test_a_modules_own_tests_have_its_name(tree):
    found = own_tests(tree, "app/domain/room/gate.py")
    assert found == ("tests/domain/room/test_gate.py", "tests/domain/room/test_gate_facts.py")


def test_tests_that_the_table_names_come_first(tree):
    module = "app/services/room/gate.py"
    table = a_table(modules={module: ("tests/domain/room/test_gate.py",)})
    assert nearest_tests(tree, module, table) == (
        "tests/domain/room/test_gate.py",
        "tests/services/room/test_gate.py",
    )


def test_the_tests_of_a_folder_come_last_and_once(tree):
    everything = "tests/system/test_everything.py"
    own = "tests/services/room/test_gate.py"
    table = a_table(folders={"app/services/": (everything, own)})
    assert nearest_tests(tree, "app/services/room/gate.py", table) == (own, everything)
    assert everything not in nearest_tests(tree, "app/domain/room/gate.py", table)


def test_a_module_without_tests_of_its_own_is_tested_by_its_room(tree):
    assert nearest_tests(tree, "app/services/room/other.py", a_table()) == (
        "tests/services/room/test_gate.py",
        "tests/services/room/test_reviews.py",
    )


def test_a_slow_file_takes_part_only_if_it_is_named(tree):
    module, slow = "app/domain/room/gate.py", ("tests/domain/room/test_gate_facts.py",)
    assert nearest_tests(tree, module, a_table(slow=slow)) == ("tests/domain/room/test_gate.py",)
    assert slow[0] in nearest_tests(tree, module, a_table(modules={module: slow}, slow=slow))


def test_the_broad_suite_is_all_but_the_slow_files(tree):
    found = broad_tests(tree, a_table(slow=("tests/services/",)))
    assert [Path(each).name for each in found] == [
        "test_gate.py",
        "test_gate_facts.py",
        "test_gates.py",
        "test_everything.py",
    ]


def test_a_room_is_the_same_in_every_ring(tree):
    found = rooms_tests(tree, ["app/services/room/reviews.py"], a_table())
    assert len(found) == 5
    assert "tests/system/test_everything.py" not in found


def test_every_module_of_the_application_has_a_nearest_test():
    table = replace(TABLE, folders={})
    modules = [str(path.relative_to(ROOT)) for path in (ROOT / "app").rglob("*.py")]
    without = [
        module
        for module in modules
        if not module.endswith("__init__.py") and not nearest_tests(ROOT, module, table)
    ]
    assert without == []


def test_the_table_names_modules_and_tests_that_exist():
    of_folders = [*TABLE.folders, *sum(TABLE.folders.values(), ())]
    of_modules = [*TABLE.modules, *sum(TABLE.modules.values(), ())]
    named = [*of_folders, *of_modules, *TABLE.slow, *TABLE.races]
    assert [path for path in named if not (ROOT / path).exists()] == []
