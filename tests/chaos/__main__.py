"""`python -m tests.chaos CYCLES`: the tests of faults, for as long as one likes."""

import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.cycles import endure, say
from tests.chaos.victims import VICTIMS

SHOWN = 20


def main(cycles):
    victims = [victim for _ in range(cycles) for victim in random.sample([*VICTIMS], len(VICTIMS))]
    folder = Path(tempfile.mkdtemp(prefix="registry-chaos-"))
    found = endure(folder, victims[:cycles])
    if found:
        say("\n".join(found[:SHOWN]))
        sys.exit(f"What was left is in {folder}.")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(int(sys.argv[1]))
