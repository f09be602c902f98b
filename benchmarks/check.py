"""`make bench-check`: ratios measured in a minute, each compared with its floor in `floors.json`.

A ratio compares an operation of the registry with one of a fixed reference: the bare framework or
the object store. Each floor is half of the measured ratio, so a failure is not chance. Raise a
floor when its operation becomes faster.
"""

import dataclasses
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.server import stop_cleanly_on_signals
from benchmarks.comparison import compared
from benchmarks.series import Section, Series
from benchmarks.sizes import QUICK

_FLOORS: Final = Path(__file__).with_name("floors.json")
_SECTIONS: Final = ("requests", "transfer", "journey")
_SIZES: Final = dataclasses.replace(QUICK, connections=(16,), rounds=5, transfers_mb=(3, 64))


@dataclass(frozen=True, slots=True)
class Floor:
    """The least accepted ratio. The reference's operation is the same, or `against`."""

    operation: str
    system: str
    reference: str
    floor: float
    against: str | None = None

    def check(self, found: dict[tuple[str, str], Series]) -> tuple[float, str]:
        """Return the ratio and a line that reports it."""
        against = self.against or self.operation
        ratio = found[self.operation, self.system].times_better(found[against, self.reference])
        verdict = "ok" if ratio >= self.floor else "UNDER ITS FLOOR"
        line = f"{self.operation} / {self.reference} ({against})"
        return ratio, f"{line:60} {ratio:8.4f}  floor {self.floor:g}  {verdict}"


def main() -> None:
    """Measure, print each ratio, and fail if one is under its floor."""
    stop_cleanly_on_signals()  # also ends the started servers
    floors = [Floor(**each) for each in json.loads(_FLOORS.read_text())]
    with tempfile.TemporaryDirectory(prefix="registry-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # PostgreSQL's unprivileged user must be able to enter
        sections = compared(folder, _SIZES, _SECTIONS, variants=())
    if problems := [problem for section in sections for problem in section.problems]:
        sys.exit("\n".join(problems))
    found = _found(sections)
    checked = [(each, *each.check(found)) for each in floors]
    for _, _, line in checked:
        print(line)
    for section in sections:
        if section.noisy:
            print(f"{section.title}: noisy, load average {section.load_before:.1f}.")
    if any(ratio < each.floor for each, ratio, _ in checked):
        sys.exit("A ratio is under its floor. If the machine was busy, run the check again.")


def _found(sections: list[Section]) -> dict[tuple[str, str], Series]:
    series = [each for section in sections for each in section.series]
    return {(each.operation, each.system): each for each in series}


if __name__ == "__main__":
    main()
