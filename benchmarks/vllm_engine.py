"""vLLM's own decode graphs, kernel by kernel: python benchmarks/vllm_engine.py

Needs an NVIDIA GPU and vLLM, but no network and no weights. The core of a server (scheduler,
executor, worker, model runner) runs in process over a dummy model of a few layers with real head
dimensions. It captures FULL decode graphs for the model's max_model_len, prefills some requests and
decodes them under CUPTI, after enough decodes for the clock to recover from the prefill. Our rows
of that shape should have the same attention kernels, and their times within 3 %. Every layer has a
KV cache of its own, so each finds it cold, as in production. --inputs also times the very calls in
the graphs by our clock, with one input after another replaced by ours: which makes the difference.
"""

import argparse
import faulthandler
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise, product
from pathlib import Path
from statistics import median
from typing import Any

import torch
from dummy_engine import (
    BACKENDS,
    ENVIRONMENT,
    PREFILL_TOKENS,
    add_requests,
    engine,
    import_engine,
    record_captures,
)
from engine_clock import stamped_graphs, stamped_steps
from engine_inputs import record_calls, with_our_inputs
from tabulate import tabulate

from attnbench.specs.layer import MLP
from attnbench.timing.activity import Activity, recorded, trimmed
from attnbench.timing.sm_clock import SmClock

DEVICE = "cuda:0"
STEPS = 10
WARM_STEPS = 100  # at least: 5 after a prefill of 64 x 4k the SM clock was still a fifth too low
CACHE_WRITE = re.compile("_and_cache")
# What a backend's forward runs, with TRITON_MLA's fills but without the joining of MLA's queries.
ATTENTION = re.compile(
    "(?i)flash|attention|mha|mla|BatchDecode|MergeStates|_kernel_stage|reduce_segments|FillFunctor"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--requests", nargs="+", type=int, default=[64], help="at most 64")
    parser.add_argument("--kv", nargs="+", type=int, default=[1024, 4096], help="tokens a request")
    parser.add_argument("--inputs", action="store_true", help="time the calls with our inputs too")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--mlp", type=int, default=MLP, help="width of each layer's MLP")
    parser.add_argument("--timeout", type=float, default=150, help="seconds for a backend")
    parser.add_argument("--output", type=Path, help="write all kernels here, as JSON")
    parser.add_argument("--here", action="store_true", help="one backend, in this process")
    given = parser.parse_args()
    if given.here:
        (backend,) = given.backends
        faulthandler.dump_traceback_later(given.timeout, exit=True)  # says where it hangs
        given.output.write_text(json.dumps(measured(backend, given)))
        return
    found = {}
    for backend in given.backends:
        found[backend] = in_own_process(backend, given)
        if given.output is not None:  # at once: the next one may take all time that there is
            given.output.write_text(json.dumps(found, indent=1))
    print(tabulate([line for each in found.items() for line in lines(*each)], headers="keys"))
    print(tabulate([row for each in found.items() for row in input_lines(*each)], headers="keys"))


def in_own_process(backend: str, given: argparse.Namespace) -> dict[str, Any]:
    """What `measured` finds, or the end of what the process printed."""
    with tempfile.TemporaryDirectory() as folder:
        result, log = Path(folder, "result.json"), Path(folder, "log")
        command = [sys.executable, __file__, "--here", "--backends", backend]
        command += ["--requests", *map(str, given.requests), "--kv", *map(str, given.kv)]
        command += ["--layers", str(given.layers), "--mlp", str(given.mlp), "--output", str(result)]
        command += ["--timeout", str(given.timeout), *["--inputs"] * given.inputs]
        started = time.perf_counter()
        try:
            with log.open("w") as text:  # a compiler left behind would hold a pipe open
                subprocess.run(
                    command,
                    env=os.environ | ENVIRONMENT,
                    stdout=text,
                    stderr=subprocess.STDOUT,
                    timeout=given.timeout + 10,
                    check=False,
                )
        except subprocess.TimeoutExpired as error:
            print(error)
        if not result.exists():
            last = log.read_text(errors="replace").splitlines()[-80:]
            print(f"{backend} failed:", *last[-15:], sep="\n    ", flush=True)
            return {"log": last}
        found: dict[str, Any] = json.loads(result.read_text())
    parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in found["seconds"].items())
    print(f"{backend}: {time.perf_counter() - started:.1f} s ({parts})", flush=True)
    return found


def measured(backend: str, given: argparse.Namespace) -> dict[str, Any]:
    """Facts of the engine and, for each batch, the attention kernels of its decodes."""
    marks = [("", time.perf_counter())]
    version = import_engine()
    marks.append(("import", time.perf_counter()))
    recorded(lambda: torch.zeros(1, device="cuda"))  # CUPTI has to be there before a capture
    captured, calls = record_captures(backend), record_calls(backend)
    core = engine(backend, given.layers, given.mlp)
    page = core.vllm_config.cache_config.block_size
    marks.append(("start", time.perf_counter()))
    decodes: dict[str, Any] = {}
    # Made once: with the fourth graph of ours the server's kernels began to start later.
    stamps = SmClock(DEVICE), SmClock(DEVICE)
    for requests, kv in product(given.requests, given.kv):
        name = f"{requests}q1kv{kv}"
        decodes[name] = decode(core, requests, kv, given.layers, stamps)
        if given.inputs:
            padded = min(size for size in calls if size >= requests)
            with torch.inference_mode():
                decodes[name]["inputs"] = with_our_inputs(calls[padded], kv, page)
        marks.append((name, time.perf_counter()))
    return {
        "gpu": torch.cuda.get_device_name(),
        "vllm": version,
        "model_runner": type(core.model_executor.driver_worker.worker.model_runner).__module__,
        "block_size": page,
        "layers": given.layers,
        "mlp": given.mlp,
        "captured": captured,
        "seconds": {b[0]: b[1] - a[1] for a, b in pairwise(marks)},
        "batches": decodes,
    }


def decode(
    core: Any, requests: int, kv: int, layers: int, stamps: tuple[SmClock, SmClock]
) -> dict[str, Any]:
    """Record STEPS decodes of so many requests, in the last of which the longest has `kv`."""
    scheduler = core.scheduler
    prefills = -(-requests * kv // PREFILL_TOKENS)  # the first decode while others prefill
    names = add_requests(core, requests, kv - prefills - WARM_STEPS - STEPS)
    while scheduler.waiting or any(not each.num_output_tokens for each in scheduler.running):
        core.step()
    while max(each.num_computed_tokens for each in scheduler.running) < kv - STEPS:
        core.step()
    of_graphs, of_steps = stamps
    for each in stamps:
        each.start()
    with stamped_graphs(of_graphs):
        activities = recorded(lambda: stamped_steps(core, STEPS, of_steps))
    lengths = [each.num_computed_tokens for each in scheduler.running]
    core.abort_requests(names)
    replays = graph_replays(activities)
    if len(replays) != STEPS or len(lengths) != requests:
        raise RuntimeError(f"{len(replays)} graph replays, {len(lengths)} requests at the end")
    ops = [op for replay in replays for op in attention_ops(replay, layers)]
    kernels, _ = Counter(tuple(trimmed(each.name) for each in op) for op in ops).most_common(1)[0]
    origin = replays[-1][0].start
    return {
        "lengths": [min(lengths), max(lengths)],
        "kernels": kernels,
        "sm_clocks_hz": of_graphs.clocks(),
        "step_clocks_hz": of_steps.clocks(),
        "replays_ns": [max(each.end for each in one) - one[0].start for one in replays],
        "sums_ns": [sum(each.end - each.start for each in op) for op in ops],
        "spans_ns": [max(each.end for each in op) - op[0].start for op in ops],
        "last_replay": [
            (each.start - origin, each.end - each.start, each.name) for each in replays[-1]
        ],
    }


def graph_replays(activities: Iterable[Activity]) -> list[list[Activity]]:
    """What each replayed graph ran, in the order of starts: all its nodes share a launch."""
    launches = defaultdict(list)
    for each in activities:
        launches[each.launch].append(each)
    graphs = [sorted(each, key=lambda a: a.start) for each in launches.values() if len(each) > 1]
    return sorted(graphs, key=lambda graph: graph[0].start)


def attention_ops(replay: Sequence[Activity], layers: int) -> list[list[Activity]]:
    """The attention kernels of each layer: they follow its write to the cache."""
    writes = [at for at, each in enumerate(replay) if CACHE_WRITE.search(each.name)]
    ops = [
        [each for each in replay[at + 1 : end] if ATTENTION.search(each.name)]
        for at, end in zip(writes, [*writes[1:], len(replay)], strict=True)
    ]
    if len(ops) != layers or not all(ops):
        raise RuntimeError(f"no {layers} layers in {[trimmed(each.name) for each in replay]}")
    return ops


def lines(backend: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Lines of the table."""
    return [
        {
            "backend": backend,
            "page": found["block_size"],
            "batch": name,
            "kv": f"{each['lengths'][0]}..{each['lengths'][1]}",
            "kernels, us": 1e-3 * median(each["sums_ns"]),
            "from start to end, us": 1e-3 * median(each["spans_ns"]),
            "GHz": 1e-9 * median(each["sm_clocks_hz"] or [0.0]),
            "of the step": 1e-9 * median(each["step_clocks_hz"] or [0.0]),
            "of a layer": ", ".join(kernel[:60] for kernel in each["kernels"]),
        }
        for name, each in found.get("batches", {}).items()
    ]


def input_lines(backend: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Lines of the table of inputs."""
    return [
        {"backend": backend, "batch": name} | row
        for name, each in found.get("batches", {}).items()
        for row in each.get("inputs", ())
    ]


if __name__ == "__main__":
    main()
