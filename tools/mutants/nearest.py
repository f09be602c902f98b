"""The tests that are nearest to a module, by the mirrored tree and by a table."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

Selection = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """The content of `nearest.toml`.

    It has tests by module, slow tests, tests that are races, and tests by folder of modules.
    """

    modules: Mapping[str, Selection]
    slow: Selection
    races: Selection
    folders: Mapping[str, Selection] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> "Table":
        document = tomllib.loads(file.read_text())
        return cls(
            modules={path: tuple(tests) for path, tests in document["modules"].items()},
            slow=tuple(document["slow"]),
            races=tuple(document["races"]),
            folders={path: tuple(tests) for path, tests in document.get("folders", {}).items()},
        )

    def of_folders(self, module: str) -> Selection:
        """Return the tests of the folders that hold a module."""
        holding = [tests for path, tests in self.folders.items() if module.startswith(path)]
        return tuple(each for tests in holding for each in tests)

    def without_slow(self, tests: Iterable[str]) -> Selection:
        return tuple(test for test in tests if not test.startswith(self.slow))


def nearest_tests(root: Path, module: str, table: Table) -> Selection:
    """Return the files that the table names for a module, then those with the module's name.

    A module with neither is tested by its room. A slow file takes part only if it is named. The
    tests of the module's folder come last.
    """
    named = table.modules.get(module, ())
    own = table.without_slow(own_tests(root, module))
    room = table.without_slow(room_tests(root, module))
    found = (*named, *(each for each in own if each not in named)) or room
    return (*found, *(each for each in table.of_folders(module) if each not in found))


def own_tests(root: Path, module: str) -> Selection:
    """Return the test files with a module's name, such as test_gate_facts.py for gate.py."""
    room, name = _room_of(root, module), PurePosixPath(module).stem
    return _paths(root, [*room.glob(f"test_{name}.py"), *room.glob(f"test_{name}_*.py")])


def room_tests(root: Path, module: str) -> Selection:
    """Return the test files of the folder that mirrors a module's."""
    return _paths(root, _room_of(root, module).glob("test_*.py"))


def rooms_tests(root: Path, modules: Sequence[str], table: Table) -> Selection:
    """Return the test files of the rooms of `modules`, in every ring that has such a room."""
    rooms = {PurePosixPath(module).parent.name for module in modules}
    broad = broad_tests(root, table)
    return tuple(each for each in broad if PurePosixPath(each).parent.name in rooms)


def broad_tests(root: Path, table: Table) -> Selection:
    """Return every test file that is not slow."""
    return table.without_slow(_paths(root, (root / "tests").rglob("test_*.py")))


def _room_of(root: Path, module: str) -> Path:
    return root / "tests" / PurePosixPath(module).parent.relative_to("app")


def _paths(root: Path, files: Iterable[Path]) -> Selection:
    return tuple(sorted(str(each.relative_to(root)) for each in files))
