"""Why a server's decode and our row differ: python benchmarks/server_parts.py [--output FILE]

Needs an NVIDIA GPU and vLLM, but no network and no weights. The engine of vllm_engine.py runs over
a dummy model, with marks of the GPU's timer around each attention call in its graphs: they time the
server as they time a row, without CUPTI. Steps of the server, steps while CUPTI records and bare
replays of its graph follow each other; then its very calls are timed behind our layer, with one
input after another replaced by ours. Each line is a median of a layer's call.
"""

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from dummy_engine import ENVIRONMENT, PREFILL_TOKENS, add_requests, engine, import_engine

os.environ.update(ENVIRONMENT)  # vLLM reads it while it is imported

import torch
from between_calls import SERVED, case_of
from engine_inputs import Call, changes, record_calls
from tabulate import tabulate
from vllm_engine import attention_ops, graph_replays

from attnbench.specs.layer import MLP
from attnbench.timing.activity import recorded
from attnbench.timing.cuda import Spin
from attnbench.timing.layer import LayerClock, products_of
from attnbench.timing.marks import Marks

DEVICE = "cuda:0"
LAYERS, STEPS, SAMPLES = 8, 8, 12
WARM_STEPS = 40
MOST_CALLS = 200  # that the engine captures
ENQUEUEING = 2e-4  # seconds that the launch of a server's graph may take
NAMES = {
    "FLASH_ATTN": "flash",
    "FLASHINFER": "flashinfer",
    "FLASH_ATTN_MLA": "flashattn_mla",
    "FLASHMLA": "flashmla",
    "TRITON_MLA": "triton_mla",
}
# Their forward joins two parts of the queries, which is not attention.
JOINING = ("FLASHMLA", "TRITON_MLA")
KNOBS = SERVED | {"triton_mla": {"max_model_len": 163840}}
Sample = list[float]  # microseconds of each layer's call in one replay


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=NAMES, default="TRITON_MLA")
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--kv", type=int, default=4096, help="tokens a request")
    parser.add_argument("--never", action="store_true", help="record nothing before the first time")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    import_engine()
    if not given.never:
        recorded(lambda: torch.zeros(1, device=DEVICE))
    calls, server = record_calls(given.backend), MarkedServer(given.backend)
    core = engine(given.backend, LAYERS, MLP)
    decode(core, given.requests, given.kv)
    found = times_of_server(server, core, given.requests)
    page = core.vllm_config.cache_config.block_size
    with torch.inference_mode():
        found |= times_of_calls(calls[given.requests], given, page)
    print(tabulate(found.items(), headers=["", "us"], floatfmt=".2f"))
    if given.output is not None:
        given.output.write_text(json.dumps({**vars(given), "output": None, "us": found}, indent=1))


class MarkedServer:
    """Marks around the attention calls that a server captures from now on."""

    def __init__(self, backend: str) -> None:
        from vllm.v1.attention.backends.registry import AttentionBackendEnum

        self.spare = [Marks(DEVICE) for _ in range(MOST_CALLS)]  # nothing is allocated in a capture
        self.marks = defaultdict[int, list[Marks]](list)  # of each layer's call, by requests
        impl: Any = AttentionBackendEnum[backend].get_class().get_impl_cls()
        name = "forward_mqa" if "MLA" in backend else "forward"
        inner, at_queries = getattr(impl, name), int(name == "forward")

        def marked(impl: Any, *args: Any, **others: Any) -> Any:
            if not torch.cuda.is_current_stream_capturing():
                return inner(impl, *args, **others)
            queries, given, results = args[at_queries], list(args), list[Any]()
            if backend in JOINING and isinstance(queries, tuple):
                given[at_queries] = queries = torch.cat(queries, dim=-1)
            marks = self.spare.pop()
            marks.around(lambda: results.append(inner(impl, *given, **others)))()
            requests = len(queries[0] if isinstance(queries, tuple) else queries)
            self.marks[requests].append(marks)
            return results[0]

        setattr(impl, name, marked)

    def sample(self, requests: int, run: Callable[[], object]) -> Sample:
        """Microseconds from mark to mark of each layer in the graph that `run` replays."""
        run()
        torch.cuda.synchronize()
        return [1e6 * marks.seconds(1) for marks in self.marks[requests]]


def times_of_server(server: MarkedServer, core: Any, requests: int) -> dict[str, float]:
    """Of steps, and of bare replays of the graph that they replay, before and after a recording."""
    held, spin, noted = list[Any](), Spin(DEVICE, ENQUEUEING), list[float]()

    def steps() -> float:
        return typical([server.sample(requests, core.step) for _ in range(STEPS)])

    def replays() -> float:
        replay = partial(spin.hide, held[0].replay)
        return typical([server.sample(requests, replay) for _ in range(STEPS)])

    with last_graph(held):
        found = {"steps": steps(), "replays": replays()}
        activities = recorded(lambda: noted.append(steps()))
        ops = [op for one in graph_replays(activities) for op in attention_ops(one, LAYERS)]
        spans = [1e-3 * (max(each.end for each in op) - op[0].start) for op in ops]
        found |= {"steps while CUPTI records": noted[0], "the same by CUPTI": median(spans)}
        return found | {"steps after it": steps(), "replays after it": replays()}


def typical(samples: Sequence[Sample]) -> float:
    """The median over replays of the median layer: FLASHMLA's first one also plans."""
    return median(median(each) for each in samples)


@contextmanager
def last_graph(held: list[Any]) -> Iterator[None]:
    """Note the graph that is replayed last meanwhile."""
    replay = torch.cuda.CUDAGraph.replay

    def noted(graph: torch.cuda.CUDAGraph) -> None:
        held[:] = [graph]
        replay(graph)

    torch.cuda.CUDAGraph.replay = noted
    try:
        yield
    finally:
        torch.cuda.CUDAGraph.replay = replay


def decode(core: Any, requests: int, kv: int) -> None:
    """Decode until no request is prefilled and the clock has recovered from it."""
    scheduler, prefills = core.scheduler, -(-requests * kv // PREFILL_TOKENS)
    add_requests(core, requests, kv - prefills - WARM_STEPS - 4 * STEPS)
    while scheduler.waiting or any(not each.num_output_tokens for each in scheduler.running):
        core.step()
    for _ in range(WARM_STEPS):
        core.step()


def times_of_calls(calls: Sequence[Call], given: argparse.Namespace, page: int) -> dict[str, float]:
    """Of the server's calls behind our layer, the inputs of each line ours as well."""
    spec = f"{given.requests}q1kv{given.kv}"
    name = NAMES[given.backend]
    products, found = products_of(case_of(name, spec, KNOBS[name]), DEVICE), {}
    for each in calls:
        if given.backend not in JOINING:  # else they were joined in front of the call
            each.take_queries()
    for label, change in changes(calls, given.kv, page):
        change()
        for each in calls:
            each.reschedule()
        clock = LayerClock.of([each.launch for each in calls], products, DEVICE, None)
        found[f"calls behind our layer: {label}"] = 1e6 * median(
            clock.sample() for _ in range(SAMPLES)
        )
    return found


if __name__ == "__main__":
    main()
