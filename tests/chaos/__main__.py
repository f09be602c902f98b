"""`python -m tests.chaos CYCLES [VICTIM ...]`: the fault tests, for any number of cycles."""

import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.cycles import print_line, run_cycles
from tests.chaos.victims import VICTIMS

SHOWN = 20


def main(cycles, among):
    victims = [victim for _ in range(cycles) for victim in random.sample(among, len(among))]
    folder = Path(tempfile.mkdtemp(prefix="registry-chaos-"))
    found = run_cycles(folder, victims[:cycles])
    if found:
        print_line("\n".join(found[:SHOWN]))
        sys.exit(f"The registry's files are in {folder}.")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:] or [*VICTIMS])
