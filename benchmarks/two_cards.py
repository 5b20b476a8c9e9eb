"""How fast two cards of a host are beside one, and whether they disturb each other.

    python benchmarks/two_cards.py DB

Prints the tables of docs/lab/scale.md from pairs of runs whose labels end in `one` and `two`, with
the host behind it: one card, the other idle or busy, and both. Needs no GPU.
"""

import argparse
import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from statistics import fmean, geometric_mean, median

from tabulate import tabulate

KINDS = {"attn": "`attn`", "hhc": "study"}
HOSTS = {"": "first", "host2": "second", "host3": "third", "host4": "fourth", "host5": "fifth"}
QUERY = """
    SELECT coalesce(m.machine_id, r.machine_id), c.key, m.median, m.durations,
        (julianday(m.stored) - julianday(r.started)) * 86400
    FROM measurement m JOIN run r ON r.number = m.run JOIN 'case' c ON c.id = m.case_id
    WHERE r.label = ? AND m.status = 'ok' ORDER BY m.stored
"""


@dataclass(frozen=True)
class Measured:
    """A run: what each card did, and the time of each cell."""

    seconds: float
    outcomes: list[int]  # by card, the run's first card first, as all that follows
    began: list[float]  # seconds until the first outcome
    ended: list[float]  # and until the end of the last
    cells: dict[str, tuple[int, float]]  # by the case: its card, and the mean of its rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database", metavar="DB")
    speed, neighbours = tables(parser.parse_args().database)
    for rows in (speed, neighbours):
        print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True), end="\n\n")


def tables(database: str) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Rows of both tables: how fast, and how cells changed."""
    speed, neighbours = list[dict[str, str]](), list[dict[str, str]]()
    with closing(sqlite3.connect(database)) as connection:
        stored = {label for (label,) in connection.execute("SELECT label FROM run")}
        for (kind, name), (host, where) in ((k, h) for h in HOSTS.items() for k in KINDS.items()):
            labels = ["_".join(filter(None, (kind, count, host))) for count in ("one", "two")]
            if not stored.issuperset(labels):
                continue
            one, two = (measured(connection, label) for label in labels)
            for cards, run in (("one card", one), ("two cards", two)):
                times = f"{one.seconds / run.seconds:.2f}" if run is two else ""
                speed.append({"run": f"{name}, {where} host, {cards}"} | speed_of(run, times))
            for same, card in ((True, "same card"), (False, "the other card")):
                changes = [
                    two.cells[key][1] / time - 1
                    for key, (_, time) in one.cells.items()
                    if (two.cells[key][0] == 0) is same
                ]
                neighbours.append({"runs": f"{name}, {where} host, {card}"} | change_of(changes))
    return speed, neighbours


def measured(connection: sqlite3.Connection, label: str) -> Measured:
    """The run of that label."""
    query = (
        "SELECT machine_id, (julianday(finished) - julianday(started)) * 86400 FROM run "
        "WHERE label = ?"
    )
    first, seconds = connection.execute(query, [label]).fetchone()
    spans, rounds = defaultdict[int, list[tuple[float, float]]](list), defaultdict(list)
    on = dict[str, int]()
    for card, key, time, durations, at in connection.execute(QUERY, [label]):
        spans[card].append((at - sum(json.loads(durations).values()), at))
        rounds[key].append(time)
        on[key] = int(card != first)
    cards = sorted(spans, key=lambda card: card != first)
    return Measured(
        seconds,
        [len(spans[card]) for card in cards],
        [spans[card][0][0] for card in cards],
        [spans[card][-1][1] for card in cards],
        {key: (on[key], geometric_mean(times)) for key, times in rounds.items()},
    )


def speed_of(run: Measured, times_as_fast: str) -> dict[str, str]:
    return {
        "outcomes": " + ".join(map(str, run.outcomes)),
        "first begins after, s": ", ".join(f"{each:.1f}" for each in run.began),
        "last ends after, s": ", ".join(f"{each:.1f}" for each in run.ended),
        "the run, s": f"{run.seconds:.1f}",
        "times as fast": times_as_fast,
    }


def change_of(changes: list[float]) -> dict[str, str]:
    sizes = list(map(abs, changes))
    return {
        "cells": f"{len(changes)}",
        "mean change": f"{fmean(changes):+.2%}".replace("%", " %"),
        "median absolute change": f"{median(sizes):.2%}".replace("%", " %"),
        "within 0.5 %": f"{sum(each <= 0.005 for each in sizes)}",
        "within 1 %": f"{sum(each <= 0.01 for each in sizes)}",
        "range": f"{100 * min(changes):+.1f} to {100 * max(changes):+.1f} %",
    }


if __name__ == "__main__":
    main()
