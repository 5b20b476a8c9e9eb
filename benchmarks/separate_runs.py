"""Measures equal code in separate runs: python benchmarks/separate_runs.py --db FILE

Needs an NVIDIA GPU, vLLM and FlashInfer (--device cpu tries the script alone). Each run has a fresh
worker, all cases of its kind, and some of them again with a known share of extra work:
`separate_verdicts.py` judges the runs two by two, and those cases in place of the plain ones.
Kind "equal" are 41 cases of 2 us to 10 ms at three rounds, "quick" 20 of them, "limited" those at
the power limit at five, "plain" the same without extra work. A run that would not end in time is
not begun. One process a GPU, each with its own database.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from attnbench.families.attn import ATTN
from attnbench.provenance.machine import Machine
from attnbench.running.cases import DEFAULT_TIMER, asked_by_default, batches_of, cases_for
from attnbench.running.command import Command
from attnbench.running.plan import Plan, by_workload
from attnbench.running.session import session
from attnbench.specs.case import Case
from attnbench.timing.method import Method

KERNELS = Path(__file__).parent / "planted_kernels"
ROUNDS = {"equal": 3, "quick": 3, "limited": 5, "plain": 5}
# Of sampling in a round; those at the power limit use all of it.
SECONDS = {"equal": 1.0, "quick": 1.0, "limited": 0.5, "plain": 0.5}
KINDS = "equal equal limited limited limited equal"
# By kind the backends of each list of batches.
Cells = dict[str, list[tuple[str, str]]]
SHORT = "q1kv256 4q1kv1k 8q1kv4k 64q1kv2k 16q16kv1k q128 q512 q1k"
LIMITED = "q4k q8k 2q8k 16q1kv32k"
PLANTED = "8q1kv4k 64q1kv2k 16q16kv1k q512 q1k"
ON_GPU: Cells = {
    "equal": [
        ("flash triton flashinfer sdpa", SHORT),
        ("flash sdpa", LIMITED),
        ("triton", "q16k"),
        ("planted3-flash planted5-flash planted3-sdpa planted5-sdpa", PLANTED),
    ],
    "quick": [
        ("flash triton flashinfer sdpa", "q1kv256 4q1kv1k 16q16kv1k q512"),
        ("flash sdpa", "q4k 16q1kv32k"),
    ],
    "limited": [("flash sdpa planted3-flash planted3-sdpa", LIMITED)],
    "plain": [("flash sdpa", LIMITED)],
}
ON_CPU: Cells = {
    "equal": [
        ("sdpa naive", "q1kv256 q1kv512 2q1kv512 4q1kv512 q16 q32 q64 2q32"),
        ("planted3-sdpa planted5-sdpa", "4q1kv512 q64 q32"),
    ],
    "quick": [("sdpa naive", "q1kv256 q32")],
    "limited": [("sdpa planted3-sdpa", "q64 q32")],
    "plain": [("sdpa", "q64 q32")],
}
# What a run takes at most before one has shown it, seconds.
FIRST_GUESS = {"equal": 110.0, "quick": 40.0, "limited": 75.0, "plain": 45.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--db", required=True, help="database of this GPU's runs")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--seconds", type=float, default=380.0, help="end by then")
    parser.add_argument("--kinds", default=KINDS.split(), nargs="+", choices=list(ROUNDS))
    asked = parser.parse_args()
    os.environ["ATTNBENCH_KERNELS"] = str(KERNELS)
    ends, longest = time.monotonic() + asked.seconds, dict(FIRST_GUESS)
    for number, kind in enumerate(asked.kinds):
        began = time.monotonic()
        if ends - began < longest[kind]:
            print(f"{kind} {number} skipped: {ends - began:.0f} s are left", flush=True)
            continue
        measured = one_run(asked, kind, number)
        took = time.monotonic() - began
        longest[kind] = 1.05 * took
        print(f"{kind} {number}: {measured} outcomes in {took:.0f} s", flush=True)


def one_run(asked: argparse.Namespace, kind: str, number: int) -> int:
    """Measure one; returns the number of its outcomes."""
    label = f"{kind}-{number}"
    command = Command("attn", sys.argv, {}, [asked.device], asked.db, label=label, wait=True)
    count = 0
    with session(command, lambda machine: plan(machine, kind, number), print) as run:
        for finished in run.outcomes():
            count += 1
            if finished.outcome.status != "ok":
                print(f"{finished.case.backend} {finished.case.batch}: {finished.outcome.reason}")
    return count


def plan(machine: Machine, kind: str, number: int) -> Plan:
    """All cells of the kind; every second pair of runs has them in the reverse order."""
    cases = by_workload(list(cells(machine, kind)))
    cases = cases[::-1] if number % 4 > 1 else cases
    method = Method(DEFAULT_TIMER[machine.kind], time_budget=SECONDS[kind])
    return Plan(cases, (method,), rounds=ROUNDS[kind])


def cells(machine: Machine, kind: str) -> Iterator[Case]:
    """The cells of the kind on that machine."""
    for backends, batches in (ON_GPU if machine.kind == "cuda" else ON_CPU)[kind]:
        asked = asked_by_default(ATTN, backends.split(), batches_of(batches))
        yield from cases_for(asked, machine.kind)


if __name__ == "__main__":
    main()
