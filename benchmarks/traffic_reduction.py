"""What few batches lose for kernels unlike the roofline: traffic_reduction.py TRACES

TRACES is a folder. Steps are reduced by the roofline; the weighted time of the batches is compared
with that of all steps, for kernels that are made up. No GPU is needed, and nothing is measured.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attnbench.traffic.options import TrafficOptions
from attnbench.traffic.read import Trace, read_trace
from attnbench.traffic.reduction import reduce_steps
from attnbench.traffic.requests import Floats
from attnbench.traffic.schedule import Schedule, Work
from attnbench.traffic.server import Server
from attnbench.traffic.simulate import simulate
from attnbench.traffic.summary import limits_of

MODELS = {"llama3-8b": 1, "llama3-70b": 8, "deepseek-v3": 8}
BATCHES = (12, 24, 240)
SMS = 132
ON_ONE_SM = 12.2e-9  # seconds a key, as FlashAttention 3 took on an H200 for a rank of llama3-70b


class Parts(NamedTuple):
    """By step: the rooflines of its decodes and prefills, s, requests, and its longest sequence."""

    decode: Floats
    prefill: Floats
    requests: Floats
    longest_beside_new: Floats  # tokens; 0 in steps of decodes alone


KERNELS: dict[str, Callable[[Parts], Floats]] = {
    "at least 8 us": lambda of: np.maximum(8e-6, of.decode + of.prefill),
    "4 us more, prefill at half its roofline": lambda of: 4e-6 + 1.3 * of.decode + 2 * of.prefill,
    "60 ns a request": lambda of: 6e-6 + of.decode + 1.5 * of.prefill + 6e-8 * of.requests,
    "longest sequence on one SM beside a prefill": lambda of: (
        5e-6 + np.maximum(ON_ONE_SM * of.longest_beside_new, 1.1 * of.decode + 1.3 * of.prefill)
    ),
    "decode on one SM a request": lambda of: (
        3e-6 + of.decode * np.maximum(1, SMS / np.maximum(of.requests, 1)) + of.prefill
    ),
}


def main() -> None:
    """Print and write a row for each trace, model and number of batches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", type=Path)
    parser.add_argument("--output", type=Path, default=Path("traffic_reduction.json"))
    options = parser.parse_args()
    rows = []
    for path in sorted(options.traces.glob("*.[cj]s*")):
        for model, tp in MODELS.items():
            rows += losses(path, Server(model, tp, "h200"), TrafficOptions(model=model, tp=tp))
            print(*rows[-len(BATCHES) :], sep="\n", flush=True)
    options.output.write_text(json.dumps(rows, indent=1) + "\n")


def losses(path: Path, server: Server, asked: TrafficOptions) -> list[dict[str, object]]:
    """The relative error of the weighted time, by number of batches and kernel."""
    trace = read_trace(path)
    assert isinstance(trace, Trace)
    steps = simulate(trace.requests, limits_of(asked, server), server).schedule
    whole = seconds(steps, server)
    rows = []
    for most in BATCHES:
        found = reduce_steps(steps, server, most)
        batches = [[(r.q_len, r.kv_len) for r in each.batch] for each in found.batches]
        few = seconds(Schedule.of_batches(batches), server)
        weights = np.array([each.weight for each in found.batches])
        lost = {name: float(weights @ few[name] / whole[name].sum()) - 1 for name in KERNELS}
        by_roofline = {"roofline": found.loss, "margin": found.margin}
        about: dict[str, object] = {"trace": path.name, "model": server.model, "batches": most}
        rows.append(about | by_roofline | lost)
    return rows


def seconds(steps: Schedule, server: Server) -> dict[str, Floats]:
    """The time of each step, by made-up kernel."""
    decode, prefill = steps.work(decode=True), steps.work(decode=False)
    nothing = Work(np.zeros_like(decode.requests), np.zeros_like(decode.sums))
    parts = Parts(
        server.attention_seconds(decode, nothing),
        server.attention_seconds(nothing, prefill),
        decode.requests + prefill.requests,
        steps.longest() * (prefill.tokens > 0),
    )
    return {name: kernel(parts) for name, kernel in KERNELS.items()}


if __name__ == "__main__":
    main()
