"""How many launches of a kernel give other rows than its first: python benchmarks/repeated.py

    --family attn --backends flashinfer --specs q2k --seconds 60 --output FILE

Needs an NVIDIA GPU. A launch of two working sets is checked after it, as timed ones are. Later ones
are replayed from a graph that fills an output with NaN, launches, and compares all rows with those.
Sums in an order that varies change bits alone; a row is wrong if it is off by more than one may be.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from attnbench.families import FAMILIES
from attnbench.kernels.base import Prepared, Refused
from attnbench.kernels.check import WrongResult, check_again
from attnbench.kernels.mutants.trial import made_ready
from attnbench.provenance.environment import read_environment
from attnbench.provenance.machine import Machine, read_machine
from attnbench.running.cases import batches_of, cases_for
from attnbench.specs.case import Case

SETS, SEED = 2, 0
LAUNCHES = 50  # of each set in a graph
LISTED = 40  # wrong rows by name
COLUMNS = ("backend", "batch", "scope", "launches", "other_bits", "wrong", "fault")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", default="attn", choices=list(FAMILIES))
    parser.add_argument("--backends", nargs="+", default=["all"])
    parser.add_argument("--specs", nargs="+", default=["q2k", "64q1kv4k"])
    parser.add_argument("--seconds", type=float, default=10, help="of each case")
    parser.add_argument("--output", type=Path, help="write the figures to this file")
    asked = parser.parse_args()
    machine, rows = read_machine("cuda:0"), list[dict[str, Any]]()
    facts = {"machine": machine.as_facts(), "environment": read_environment().as_facts()}
    for case in all_cases(asked.family, asked.backends, asked.specs):
        with torch.inference_mode():
            if (found := launched(case, machine, asked.seconds)) is not None:
                rows.append(found)
        torch.cuda.empty_cache()
        if asked.output is not None:
            asked.output.write_text(json.dumps(facts | {"cases": rows}, indent=1))
    print(tabulate([[row[name] for name in COLUMNS] for row in rows], headers=COLUMNS))


def all_cases(family: str, names: Sequence[str], specs: Sequence[str]) -> Sequence[Case]:
    kind = FAMILIES[family]
    options = kind.options(backend=tuple(names), batch=tuple(batches_of(" ".join(specs))))
    return cases_for(kind.asked(options), "cuda")


def launched(case: Case, machine: Machine, seconds: float) -> dict[str, Any] | None:
    """What launches of a case gave; None where it cannot run."""
    facts: dict[str, Any] = {
        "backend": case.backend,
        "batch": str(case.batch),
        "scope": case.scope,
        "launches": 0,
        "other_bits": 0,
        "wrong": 0,
        "fault": "",
    }
    try:
        return facts | compared(made_ready(case, machine, SETS, SEED), seconds)
    except Refused:
        return None
    except (WrongResult, RuntimeError) as error:
        return facts | {"fault": f"{type(error).__name__}: {error}"[:300]}


def compared(prepared: Prepared, seconds: float) -> dict[str, Any]:
    """Launches, those with other bits or with a wrong row, and the rows that were ever wrong.

    Raises WrongResult if those that all others are compared with are wrong.
    """
    prepared.poison_sets(range(SETS))
    for call in prepared.calls:
        call()
    check_again(prepared, SETS, SEED)
    first = [prepared.output(index).clone() for index in range(SETS)]
    values = [each.float() for each in first]
    allowed = [prepared.tolerance.relative_l2 * each.norm(dim=1) for each in values]
    other, wrong = (torch.zeros((), dtype=torch.int64, device="cuda") for _ in range(2))
    ever = torch.zeros(len(first[0]), dtype=torch.bool, device="cuda")

    def step() -> None:
        for index in [*range(SETS)] * LAUNCHES:
            prepared.poison(index)
            prepared.calls[index]()
            found = prepared.output(index)
            off = ~((found.float() - values[index]).norm(dim=1) <= allowed[index])  # NaN is off
            other.add_((found.view(torch.uint8) != first[index].view(torch.uint8)).any())
            wrong.add_(off.any())
            ever.logical_or_(off)

    replay, num_replays = captured(step), 0
    for each in (other, wrong, ever):  # captured() launched once too
        each.zero_()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        replay()
        torch.cuda.synchronize()
        num_replays += 1
    rows = ever.nonzero().flatten().tolist()
    return {
        "launches": num_replays * SETS * LAUNCHES,
        "other_bits": int(other),
        "wrong": int(wrong),
        "wrong_rows": len(rows),
        "places": [prepared.place(row) for row in rows[:LISTED]],
    }


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """`step` as the replay of a graph, after one of its own."""
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        step()
    replay: Callable[[], None] = graph.replay
    return replay


if __name__ == "__main__":
    main()
