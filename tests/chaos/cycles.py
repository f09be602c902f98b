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
# A frozen database lasts longer than a request may wait for its refusal. The registry notices
# after four seconds, or five for a request that is connecting; the rest is for a busy machine.
FROZEN_S = 16
REFUSED_WITHIN_S = 12

HEAD = ("cycle", "victim", "ready after", "acknowledged", "refused", "uncertain", "pulled")
ROW = "{:>5}  {:<11}{:>12}{:>14}{:>9}{:>11}{:>8}"


def run_cycles(folder, victims):
    """Harm each of `victims` in turn while clients are at work; return the violations."""
    with a_registry(folder) as registry, Load(registry) as load:
        print_line(ROW.format(*HEAD))
        found = []
        with load.at_work():
            for cycle, victim in enumerate(victims, start=1):
                await_work(load)
                time.sleep(random.uniform(0, 0.3))
                harmed = time.monotonic()
                ready_s = harm_and_restart(registry, victim)
                if victim == "frozen-pg":
                    found += late_answers(load, harmed)
                print_line(ROW.format(cycle, victim, f"{ready_s:.2f} s", *load.counts()))
            await_work(load)
        print_line(ROW.format("end", "", "", *load.counts()))
        found += violations(registry, load)
    print_line(f"{len(found)} violations")
    return found


def await_work(load):
    goal = load.counts()[0] + WORK
    eventually(lambda: load.counts()[0] >= goal, within_s=PATIENCE_S)


def harm_and_restart(registry, victim):
    """Harm a victim, then restart it; return the seconds from the restart until readiness."""
    start_again = registry.harm(victim)
    time.sleep(duration_s(victim))
    began = time.monotonic()
    start_again()
    registry.await_readiness()
    return time.monotonic() - began


def duration_s(victim):
    if victim == "frozen-pg":
        return FROZEN_S
    return random.uniform(1, 4) if victim in LASTING else random.uniform(0, 0.3)


def late_answers(load, since):
    """Yield a violation if a client waited longer than a process needs to notice the fault."""
    longest_s = load.longest_wait(since)
    print_line(f"       the longest wait for an answer was {longest_s:.1f} s")
    if longest_s > REFUSED_WITHIN_S:
        yield f"a client waited {longest_s:.1f} s for an answer while the database was frozen"


def print_line(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
