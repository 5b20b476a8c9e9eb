"""vLLM's own decode graphs, kernel by kernel: python benchmarks/vllm_engine.py

Needs an NVIDIA GPU and vLLM, but no network and no weights. The core of a server (scheduler,
executor, worker, model runner) runs in process over a dummy model of a few layers with real head
dimensions. It captures FULL decode graphs for the model's max_model_len, prefills 64 requests and
decodes them under CUPTI. Our rows of that shape should have the same attention kernels, and their
times within 3 %. Every layer has a KV cache of its own, so each finds it cold, as in production.
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
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from dummy_engine import (
    BACKENDS,
    ENVIRONMENT,
    PREFILL_TOKENS,
    REQUESTS,
    add_requests,
    engine,
    import_engine,
    record_captures,
)
from tabulate import tabulate

from attnbench.timing.activity import Activity, recorded, trimmed

STEPS = 10
WARM_STEPS = 5  # at least
CACHE_WRITE = re.compile("_and_cache")
# What a backend's forward runs, with TRITON_MLA's fills but without the joining of MLA's queries.
ATTENTION = re.compile(
    "(?i)flash|attention|mha|mla|BatchDecode|MergeStates|_kernel_stage|reduce_segments|FillFunctor"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--kv", nargs="+", type=int, default=[1024, 4096], help="tokens a request")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--timeout", type=float, default=150, help="seconds for a backend")
    parser.add_argument("--output", type=Path, help="write all kernels here, as JSON")
    parser.add_argument("--here", action="store_true", help="one backend, in this process")
    given = parser.parse_args()
    if given.here:
        (backend,) = given.backends
        faulthandler.dump_traceback_later(given.timeout, exit=True)  # says where it hangs
        given.output.write_text(json.dumps(measured(backend, given.kv, given.layers)))
        return
    found = {}
    for backend in given.backends:
        found[backend] = in_own_process(backend, given)
        if given.output is not None:  # at once: the next one may take all time that there is
            given.output.write_text(json.dumps(found, indent=1))
    print(tabulate([line for each in found.items() for line in lines(*each)], headers="keys"))


def in_own_process(backend: str, given: argparse.Namespace) -> dict[str, Any]:
    """What `measured` finds, or the end of what the process printed."""
    with tempfile.TemporaryDirectory() as folder:
        result, log = Path(folder, "result.json"), Path(folder, "log")
        command = [sys.executable, __file__, "--here", "--backends", backend, "--kv"]
        command += [*map(str, given.kv), "--layers", str(given.layers), "--output", str(result)]
        command += ["--timeout", str(given.timeout)]
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
    print(
        f"{backend}: {time.perf_counter() - started:.1f} s ({parts}) {found['captured']}",
        flush=True,
    )
    return found


def measured(backend: str, kv: Sequence[int], layers: int) -> dict[str, Any]:
    """Facts of the engine and, for each KV length, the attention kernels of its decodes."""
    marks = [("", time.perf_counter())]
    version = import_engine()
    marks.append(("import", time.perf_counter()))
    recorded(lambda: torch.zeros(1, device="cuda"))  # CUPTI has to be there before a capture
    captured = record_captures(backend)
    core = engine(backend, layers)
    marks.append(("start", time.perf_counter()))
    decodes = {}
    for length in kv:
        decodes[str(length)] = decode(core, length, layers)
        marks.append((f"kv {length}", time.perf_counter()))
    return {
        "gpu": torch.cuda.get_device_name(),
        "vllm": version,
        "model_runner": type(core.model_executor.driver_worker.worker.model_runner).__module__,
        "block_size": core.vllm_config.cache_config.block_size,
        "captured": next(each for each in captured if each["requests"] == REQUESTS),
        "seconds": {b[0]: b[1] - a[1] for a, b in pairwise(marks)},
        "kv": decodes,
    }


def decode(core: Any, kv: int, layers: int) -> dict[str, Any]:
    """Record STEPS decodes of REQUESTS requests, in the last of which the longest has `kv`."""
    scheduler = core.scheduler
    prefills = -(-REQUESTS * kv // PREFILL_TOKENS)  # the first decode while others prefill
    names = add_requests(core, kv, kv - prefills - WARM_STEPS - STEPS)
    while scheduler.waiting or any(not each.num_output_tokens for each in scheduler.running):
        core.step()
    while max(each.num_computed_tokens for each in scheduler.running) < kv - STEPS:
        core.step()
    activities = recorded(lambda: [core.step() for _ in range(STEPS)])
    lengths = [each.num_computed_tokens for each in scheduler.running]
    core.abort_requests(names)
    replays = graph_replays(activities)
    if len(replays) != STEPS or len(lengths) != REQUESTS:
        raise RuntimeError(f"{len(replays)} graph replays, {len(lengths)} requests at the end")
    ops = [op for replay in replays for op in attention_ops(replay, layers)]
    kernels, _ = Counter(tuple(trimmed(each.name) for each in op) for op in ops).most_common(1)[0]
    origin = replays[-1][0].start
    return {
        "lengths": [min(lengths), max(lengths)],
        "kernels": kernels,
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
            "kv": f"{each['lengths'][0]}..{each['lengths'][1]}",
            "kernels, us": 1e-3 * median(each["sums_ns"]),
            "from start to end, us": 1e-3 * median(each["spans_ns"]),
            "of a layer": ", ".join(name[:60] for name in each["kernels"]),
        }
        for each in found.get("kv", {}).values()
    ]


if __name__ == "__main__":
    main()
