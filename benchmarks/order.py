"""Does it matter in which order backends are timed? python benchmarks/order.py --output FILE

Needs an NVIDIA GPU, vLLM and FlashInfer; about 90 s. Each case is timed in the forward order, one
right after the other, and in the backward order, every other one after half a second of rest, as a
backend has while another compiles: in bursts, and with load first. --settling times one case for
three seconds from rest instead: how soon it takes as long as under load.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, get_args

import torch
from tabulate import tabulate

from attnbench.kernels.base import Setting
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine, read_machine
from attnbench.records import Outcome, Status
from attnbench.running.execute import execute
from attnbench.running.memory import working_sets
from attnbench.running.messages import Job
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape
from attnbench.timing.cuda import GraphClock
from attnbench.timing.guard import GpuGuard
from attnbench.timing.method import Method, Regime
from attnbench.timing.sm_clock import SmClock

DEVICE = "cuda:0"
WORKLOADS = ("q512kv8k", "q2k", "2q8k", "16q1kv32k")
BACKENDS = ("flash", "flashinfer", "triton", "sdpa")
REGIMES: tuple[Regime, ...] = ("burst", "auto")
ORDERS = ("forward", "backward")
REST = 0.5  # seconds
SETTLING, BIN = 3.0, 0.1  # seconds


@dataclass(frozen=True, slots=True)
class Timed:
    """One case in a regime: by order its seconds and SM cycles, and its labels."""

    workload: str
    backend: str
    regime: Regime
    seconds: dict[str, float] = field(default_factory=dict)
    cycles: dict[str, float] = field(default_factory=dict)
    labels: dict[str, Sequence[str]] = field(default_factory=dict)

    def add(self, order: str, outcome: Outcome) -> None:
        """What an order gave."""
        assert outcome.status is Status.OK, (self.backend, self.workload, outcome.reason)
        self.seconds[order] = median(outcome.samples)
        clock = outcome.guard.get("sm_clock_hz_median", 0.0)
        self.cycles[order] = self.seconds[order] * clock
        self.labels[order] = outcome.labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="write all numbers here, as JSON")
    parser.add_argument("--settling", action="store_true", help="one case for 3 s from rest")
    parser.add_argument("--workloads", nargs="+", default=WORKLOADS)
    parser.add_argument("--backends", nargs="+", default=BACKENDS)
    parser.add_argument("--regimes", nargs="+", choices=get_args(Regime), default=REGIMES)
    parser.add_argument("--seconds", type=float, default=0.2, help="of samples of a case")
    asked = parser.parse_args()
    machine = read_machine(DEVICE)
    found = _settling(machine, asked) if asked.settling else _orders(machine, asked)
    if asked.output is not None:
        facts = {"machine": machine.as_facts(), "torch": torch.__version__, **found}
        asked.output.write_text(json.dumps(facts, indent=1))


def _case(workload: str, backend: str) -> Case:
    return Case("attn", backend, parse_batch_spec(workload), AttnShape(), "bf16")


def _orders(machine: Machine, asked: argparse.Namespace) -> dict[str, Any]:
    def run(timed: Timed, order: str) -> None:
        method = Method("cudagraph", regime=timed.regime, time_budget=asked.seconds)
        case = _case(timed.workload, timed.backend)
        job = Job(case, method, 0, None, profile_memory=False, host=False)
        timed.add(order, execute(job, machine, look, lambda phase: None))

    look = GpuGuard(machine.gpu_uuid).look
    for backend in asked.backends:  # loads and compiles what each needs
        run(Timed("q512", backend, "burst"), "first")
    found = []
    for workload, regime in product(asked.workloads, asked.regimes):
        timed = [Timed(workload, backend, regime) for backend in asked.backends]
        for each in timed:
            run(each, "forward")
        for at, each in enumerate(reversed(timed)):
            time.sleep(REST * (at % 2))
            run(each, "backward")
        found += timed
    _print_times(found)
    _print_winners(found)
    return {"seconds": asked.seconds, "timed": [asdict(each) for each in found]}


def _print_times(found: Sequence[Timed]) -> None:
    """How far the orders are apart."""
    lines = [
        (
            each.workload,
            each.backend,
            each.regime,
            *(f"{1e6 * each.seconds[order]:.1f}" for order in ORDERS),
            *(f"{each.cycles[order] / each.seconds[order] / 1e9:.3f}" for order in ORDERS),
            f"{100 * _spread(each.seconds.values()):.1f}",
            f"{100 * _spread(each.cycles.values()):.1f}",
            ", ".join(sorted({label for listed in each.labels.values() for label in listed})),
        )
        for each in found
    ]
    header = (
        *("workload", "backend", "regime"),
        *(f"{order}, {unit}" for unit in ("us", "GHz") for order in ORDERS),
        *("time apart, %", "cycles apart, %", "labels"),
    )
    print(tabulate(lines, header, disable_numparse=True))
    for regime in dict.fromkeys(each.regime for each in found):
        spreads = sorted(_spread(e.seconds.values()) for e in found if e.regime == regime)
        middle, most = 100 * median(spreads), 100 * spreads[-1]
        print(f"{regime}: times are {middle:.1f} % apart in the median, {most:.1f} % at most")


def _print_winners(found: Sequence[Timed]) -> None:
    """Which backend is the quickest in each order."""
    lines = []
    for workload, regime in dict.fromkeys((each.workload, each.regime) for each in found):
        rivals = [e for e in found if (e.workload, e.regime) == (workload, regime)]
        by_time = [min(rivals, key=lambda e: e.seconds[order]).backend for order in ORDERS]
        by_cycles = [min(rivals, key=lambda e: e.cycles[order]).backend for order in ORDERS]
        lines.append((workload, regime, *by_time, *by_cycles))
    header = ("workload", "regime", *(f"{o}, by {w}" for w in ("time", "cycles") for o in ORDERS))
    print(tabulate(lines, header, disable_numparse=True))


def _spread(values: Any) -> float:
    """The largest over the smallest, less 1."""
    listed = list(values)
    return max(listed) / min(listed) - 1 if min(listed) else 0.0


def _settling(machine: Machine, asked: argparse.Namespace) -> dict[str, Any]:
    """Time and clock of each tenth of a second of load, from rest."""
    stamps, found = SmClock(DEVICE), {}
    for backend in asked.backends[:2]:
        case = _case(asked.workloads[0], backend)
        with torch.inference_mode():
            sets = working_sets(case, machine)
            calls = find("attn", backend).prepare(case, Setting(DEVICE, sets, seed=0)).calls
            calls[0]()
            clock = GraphClock(calls, DEVICE, stamps)
            time.sleep(4 * REST)
            found[backend] = _bins(clock, stamps)
        for begun, seconds, hertz in found[backend]:
            print(f"{backend} from {begun:.1f} s: {1e6 * seconds:.1f} us at {hertz / 1e9:.3f} GHz")
    return {"settling": found}


def _bins(clock: GraphClock, stamps: SmClock) -> list[tuple[float, float, float]]:
    """When each bin began, the median of its samples, and that of their SM clocks."""
    found, started = [], time.perf_counter()
    while (begun := time.perf_counter() - started) < SETTLING:
        stamps.start()
        taken = list[float]()
        while time.perf_counter() - started < begun + BIN:
            taken.append(clock.sample())
        found.append((begun, median(taken), median(stamps.clocks() or [0.0])))
    return found


if __name__ == "__main__":
    main()
