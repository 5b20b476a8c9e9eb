"""How often `history` shows a step, by world of noise: false ones, and planted ones that it finds.

    python benchmarks/history_steps.py [--histories 400]

Every world has histories of 5, 10 and 30 sessions, one a version. Then sets of 40 cases have 2 to
10, on a machine of which no repeated sessions are stored. docs/reference/method.md has the
tables, and docs/lab/decisions.md those of earlier rules.
"""

import argparse
import math
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from attnbench.analysis.steps import Step, find_steps
from attnbench.analysis.track import Track

Logs = NDArray[np.float64]
World = Callable[[np.random.Generator, int], Logs]


def normal(sd: float) -> World:
    """Independent sessions."""
    return lambda random, n: random.normal(0, sd, n)


def heavy(sd: float) -> World:
    """Student's t on 3 degrees of freedom."""
    return lambda random, n: sd * random.standard_t(3, n) / math.sqrt(3)


def alike(sd: float, correlation: float) -> World:
    """Sessions like the ones before them."""

    def world(random: np.random.Generator, n: int) -> Logs:
        x = random.normal(0, sd, n)
        for at in range(1, n):
            x[at] = correlation * x[at - 1] + math.sqrt(1 - correlation**2) * x[at]
        return x

    return world


def modes(share: float, apart: float = 0.04) -> World:
    """Some sessions slower by `apart`."""
    return lambda random, n: apart * (random.random(n) < share) + random.normal(0, 0.002, n)


def one_slow(random: np.random.Generator, n: int) -> Logs:
    """A single session 4 % slower, anywhere but at the end."""
    x = random.normal(0, 0.003, n)
    x[random.integers(0, n - 1)] += 0.04
    return x


def planted(change: float, sd: float, last: int) -> World:
    """A change that the last sessions have."""

    def world(random: np.random.Generator, n: int) -> Logs:
        x = random.normal(0, sd, n)
        x[n - last :] += change
        return x

    return world


# What is false, with the noise as known.
WORLDS: Sequence[tuple[str, World, float]] = (
    ("normal, sd 0.5 %, known", normal(0.005), 0.005),
    ("normal, sd 5 %, known", normal(0.05), 0.05),
    ("normal, sd 2 %, known as 1 %", normal(0.02), 0.01),
    ("normal, sd 1 %, known as 0.1 %", normal(0.01), 0.001),
    ("t3, sd 1 %, known", heavy(0.01), 0.01),
    ("t3, sd 2 %, known", heavy(0.02), 0.02),
    ("one session 4 % slower, others 0.3 %", one_slow, 0.003),
    ("two modes 4 % apart, 10 % slow", modes(0.1), 0.003),
    ("two modes 4 % apart, 30 % slow", modes(0.3), 0.003),
    ("two modes 4 % apart, 50 % slow", modes(0.5), 0.003),
    ("AR(1) 0.8, sd 1 %, known", alike(0.01, 0.8), 0.01),
    ("AR(1) 0.8, sd 2 %, known", alike(0.02, 0.8), 0.02),
    ("random walk, 0.5 % a version", lambda r, n: np.cumsum(r.normal(0, 0.005, n)), 0.003),
    ("drift of 3 % in all", lambda r, n: np.linspace(0, 0.03, n) + r.normal(0, 0.003, n), 0.003),
)
# What is to be found, at the place of the change.
CHANGES: Sequence[tuple[str, float, float, int]] = (
    ("+3 % in the last half, sd 0.5 %", 0.03, 0.005, 0),
    ("+2 % in the last half, sd 0.5 %", 0.02, 0.005, 0),
    ("+3 % in the last two, sd 0.5 %", 0.03, 0.005, 2),
    ("+5 % in the last, sd 0.5 %", 0.05, 0.005, 1),
)


SETS = (2, 3, 5, 10)  # sessions
CASES, KNOWN = 40, 0.003  # and the standard deviation that is known


def together(sd: float, common: float = 0.0, bimodal: float = 0.0) -> World:
    """Cases [CASES, n] that sessions move each and all, some with two modes 4 % apart."""

    def world(random: np.random.Generator, n: int) -> Logs:
        x = random.normal(0, sd, (CASES, n)) + random.normal(0, common, n)
        modes = random.random((CASES, 1)) < bimodal
        return x + 0.04 * (modes & (random.random((CASES, n)) < 0.5))

    return world


def slower(cases: int, change: float, last: int) -> World:
    """The first cases are slower in the last sessions."""

    def world(random: np.random.Generator, n: int) -> Logs:
        x = random.normal(0, KNOWN, (CASES, n))
        x[:cases, n - last :] += change
        return x

    return world


SET_WORLDS: Mapping[str, World] = {
    "sd 0.3 %, known": together(KNOWN),
    "sd 1 %, known as 0.3 %": together(0.01),
    "all cases alike by 1 %": together(KNOWN, common=0.01),
    "two modes in 2.5 % of the cases": together(KNOWN, bimodal=0.025),
    "two modes in 10 % of the cases": together(KNOWN, bimodal=0.1),
}
SET_CHANGES: Sequence[tuple[str, int, float, int]] = (
    ("1 case, +10 % in the newest session", 1, 0.1, 1),
    ("1 case, +5 % in the last two", 1, 0.05, 2),
    ("10 cases, +3 % in the newest session", 10, 0.03, 1),
    ("10 cases, +5 % in the last two", 10, 0.05, 2),
    ("all cases, +5 % in the newest session", CASES, 0.05, 1),
)


def steps_of_set(logs: Logs) -> list[list[Step]]:
    """The steps of each case, in sessions that all share."""
    tracks = [
        Track([1e-4 * math.exp(x) for x in case], [1] * len(case), KNOWN, newest=1, unseen=True)
        for case in logs
    ]
    return find_steps(tracks)


def print_sets(count: int) -> None:
    """Sets with a false step, then the changed cases that are found."""
    for name, world in SET_WORLDS.items():
        shares = []
        for n in SETS:
            random = np.random.default_rng(n)
            shares.append(np.mean([any(steps_of_set(world(random, n))) for _ in range(count)]))
        print(f"| {name} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} |", flush=True)
    for name, cases, change, last in SET_CHANGES:
        texts = []
        for n in SETS:
            random, world = np.random.default_rng(n), slower(cases, change, last)
            found = [
                any(step.at == n - last for step in steps)
                for _ in range(count if last < n else 0)
                for steps in steps_of_set(world(random, n))[:cases]
            ]
            texts.append(f"{100 * np.mean(found):.0f} %" if found else "")
        print(f"| {name} | {' | '.join(texts)} |", flush=True)


def steps_of(logs: Logs, sd: float) -> list[Step]:
    """The steps of one history."""
    return find_steps([Track([1e-4 * math.exp(x) for x in logs], [1] * len(logs), sd)])[0]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=400)
    count = parser.parse_args().histories
    for name, world, sd in WORLDS:
        shares = []
        for n in (5, 10, 30):
            random = np.random.default_rng(n)
            shares.append(np.mean([bool(steps_of(world(random, n), sd)) for _ in range(count)]))
        print(f"| {name} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} |", flush=True)
    for name, change, sd, last in CHANGES:
        shares = []
        for n in (5, 10, 30):
            random, at = np.random.default_rng(n), n - (last or n // 2)
            found = (steps_of(planted(change, sd, n - at)(random, n), sd) for _ in range(count))
            shares.append(np.mean([[step.at for step in steps] == [at] for steps in found]))
        print(f"| {name} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} |", flush=True)
    print_sets(count // 4)
    for tracks in (100, 500, 2000):
        random = np.random.default_rng(0)
        times = np.exp(random.normal(0, 0.01, (tracks, 30))).tolist()
        listed = [Track(each, [1] * 30, 0.005) for each in times]
        began = time.process_time()
        find_steps(listed)
        print(f"{tracks} histories of 30: {time.process_time() - began:.1f} s of CPU", flush=True)


if __name__ == "__main__":
    main()
