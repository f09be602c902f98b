"""Harms parts of a busy registry in cycles, and prints a line for each cycle."""

import random
import sys
import time

from tests.chaos.check import violations
from tests.chaos.load import Load
from tests.chaos.victims import LASTING, a_registry
from tests.support.observing import eventually

# The operations acknowledged between two kills, however slow the machine is.
WORK = 12
PATIENCE_S = 60

HEAD = ("cycle", "victim", "ready after", "acknowledged", "refused", "uncertain", "pulled")
ROW = "{:>5}  {:<11}{:>12}{:>14}{:>9}{:>11}{:>8}"


def run_cycles(folder, victims):
    """Harm each of `victims` in turn while clients are at work; return the violations."""
    with a_registry(folder) as registry, Load(registry) as load:
        print_line(ROW.format(*HEAD))
        with load.at_work():
            for cycle, victim in enumerate(victims, start=1):
                await_work(load)
                time.sleep(random.uniform(0, 0.3))
                ready_s = harm_and_restart(registry, victim)
                print_line(ROW.format(cycle, victim, f"{ready_s:.2f} s", *load.counts()))
            await_work(load)
        print_line(ROW.format("end", "", "", *load.counts()))
        found = list(violations(registry, load))
    print_line(f"{len(found)} violations")
    return found


def await_work(load):
    goal = load.counts()[0] + WORK
    eventually(lambda: load.counts()[0] >= goal, within_s=PATIENCE_S)


def harm_and_restart(registry, victim):
    """Harm a victim, then restart it; return the seconds from the restart until readiness."""
    start_again = registry.harm(victim)
    time.sleep(random.uniform(1, 4) if victim in LASTING else random.uniform(0, 0.3))
    began = time.monotonic()
    start_again()
    registry.await_readiness()
    return time.monotonic() - began


def print_line(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
