"""Our model of vLLM's scheduler beside the scheduler itself, batch for batch.

Random traces on caches that are mostly too small are served by both, with steps as long as the
roofline says. It needs vLLM and no GPU. `--stored` writes a few of them for the tests.
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from vllm.config import CacheConfig, ObservabilityConfig, ParallelConfig, SchedulerConfig
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request

from attnbench.traffic.limits import BLOCK, ServerLimits
from attnbench.traffic.options import TrafficOptions
from attnbench.traffic.read import Trace, read_trace
from attnbench.traffic.requests import HASHED, Requests, TracedRequest
from attnbench.traffic.schedule import Schedule
from attnbench.traffic.server import Server
from attnbench.traffic.simulate import simulate
from attnbench.traffic.summary import limits_of

MODEL_LENGTH = 2**20
SERVER, DEEPSEEK = Server("llama3-8b", 1, "h200"), Server("deepseek-v3", 8, "h200")
Steps = list[list[tuple[int, int]]]  # new and total tokens of each request, by step


def main() -> None:
    """Print how many traces have the same batches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=int, default=50)
    parser.add_argument("--stored", type=Path, help="write the first traces with their batches")
    parser.add_argument(
        "--mooncake", type=Path, help="this trace instead, for deepseek-v3 on 8 GPUs"
    )
    options = parser.parse_args()
    init_none_hash(sha256)
    if options.mooncake:
        traces, server = [mooncake(options.mooncake)], DEEPSEEK
    else:
        draws, is_small = map(random.Random, range(options.traces)), bool(options.stored)
        traces, server = [trace(each, is_small=is_small) for each in draws], SERVER
    same, steps, preemptions, stored = 0, 0, 0, []
    for rows, limits in traces:
        served = simulate(Requests.of(rows), limits, server)
        found = batches_of_vllm(rows, limits, server)
        same += found == batches_of(served.schedule)
        steps, preemptions = steps + len(found), preemptions + served.preemptions
        sizes = [limits.max_num_seqs, limits.max_num_batched_tokens, limits.kv_tokens]
        stored.append({"limits": sizes, "requests": rows, "batches": found})
    print(f"{same} of {len(traces)} traces alike: {steps} steps, {preemptions} preemptions")
    if options.stored:
        options.stored.write_text("[\n" + ",\n".join(map(json.dumps, stored)) + "\n]\n")


def mooncake(path: Path) -> tuple[list[TracedRequest], ServerLimits]:
    """The requests of Mooncake's trace, and vLLM's limits."""
    read = read_trace(path)
    assert isinstance(read, Trace)
    each = read.requests
    columns = [column.tolist() for column in (each.arrival, each.prompt, each.output, each.cached)]
    rows = [TracedRequest(*row) for row in zip(*columns, each.hash_ids, strict=True)]
    return rows, limits_of(TrafficOptions(model="deepseek-v3", tp=8), DEEPSEEK)


def trace(draw: random.Random, *, is_small: bool) -> tuple[list[TracedRequest], ServerLimits]:
    """Requests in order of arrival, all at once in a small trace, and the limits of a server.

    Half of the traces have conversations, whose prompts share a prefix.
    """
    count, prompt, output = (16, 300, 60) if is_small else (draw.choice([20, 60, 150]), 900, 200)
    talks = [[draw.randrange(3)] for _ in range(5)] if draw.random() < 0.5 else []
    rate, at, rows = draw.choice([5, 50, 200, 1000]), 0.0, []
    for _ in range(count):
        tokens = draw.randint(1, draw.choice([30, prompt]))
        hash_ids: tuple[int, ...] = ()
        if talks:
            talk = draw.choice(talks)
            hash_ids = (*talk, draw.randrange(10**9))
            tokens = HASHED * len(talk) + draw.randint(1, HASHED)
            talk += [draw.randrange(10**9)] if len(talk) < 2 + 2 * (not is_small) else []
        new = draw.choice([1, 2, draw.randint(1, output)])
        rows.append(TracedRequest(at, tokens, new, 0, hash_ids))
        at += 0.0 if is_small else draw.expovariate(rate)
    blocks = (24 if is_small else draw.choice([80, 100, 140, 1000])) + 100 * bool(talks)
    sizes = draw.choice([3, 16, 64]), draw.choice([64, 256, 2048]), BLOCK * blocks
    return rows, ServerLimits(*sizes)


def batches_of(schedule: Schedule) -> Steps:
    """The steps of our model."""
    batches = map(schedule.batch, range(schedule.num_steps))
    return [[(each.q_len, each.kv_len) for each in batch] for batch in batches]


def batches_of_vllm(rows: Sequence[TracedRequest], limits: ServerLimits, server: Server) -> Steps:
    """The steps of vLLM's scheduler."""
    scheduler, coming, clock, steps = _scheduler(limits), list(_requests(rows)), 0.0, Steps()
    while coming or scheduler.requests:
        while coming and coming[0].arrival_time <= clock:
            scheduler.add_request(coming.pop(0))
        output = scheduler.schedule()
        if not (new := output.num_scheduled_tokens):
            clock = coming[0].arrival_time
            continue
        running = [scheduler.requests[each] for each in new]
        batch = [(new[r.request_id], r.num_computed_tokens) for r in running]
        batch.sort(key=lambda lengths: lengths[0])  # stably, as the model runner does
        sampled = [[7] if r.num_computed_tokens >= r.num_tokens else [] for r in running]
        ran = ModelRunnerOutput(list(new), {each: at for at, each in enumerate(new)}, sampled)
        scheduler.update_from_output(output, ran)
        steps.append(batch)
        clock += _seconds(batch, server)
    return steps


def _seconds(batch: Sequence[tuple[int, int]], server: Server) -> float:
    schedule = Schedule.of_batches([batch])
    return float(server.step_seconds(*(schedule.work(decode=each) for each in (True, False)))[0])


def _requests(rows: Sequence[TracedRequest]) -> Iterator[Request]:
    """Requests that share the tokens of their hash ids, and no others."""
    for at, row in enumerate(rows):
        keys = row.hash_ids or (10**9 + at,)
        first = [key * MODEL_LENGTH for key in keys]
        lengths = [HASHED] * (len(keys) - 1) if row.hash_ids else []
        lengths.append(row.prompt_tokens - sum(lengths))
        parts = [range(start, start + n) for start, n in zip(first, lengths, strict=True)]
        yield Request(
            request_id=str(at),
            prompt_token_ids=[token for part in parts for token in part],
            sampling_params=SamplingParams(ignore_eos=True, max_tokens=row.output_tokens),
            pooling_params=None,
            arrival_time=row.arrival_s,
            block_hasher=get_request_block_hasher(BLOCK, sha256),
        )


def _scheduler(limits: ServerLimits) -> Scheduler:
    """vLLM's, with its defaults but for the limits; only what it reads is configured."""
    blocks = 1 + limits.kv_tokens // BLOCK  # one is the null block
    cache = CacheConfig(block_size=BLOCK)
    cache.num_gpu_blocks = blocks
    scheduler = SchedulerConfig(
        max_num_seqs=limits.max_num_seqs,
        max_num_batched_tokens=limits.max_num_batched_tokens,
        max_model_len=MODEL_LENGTH,
        is_encoder_decoder=False,
        async_scheduling=False,
    )
    model = SimpleNamespace(
        max_model_len=MODEL_LENGTH,
        is_encoder_decoder=False,
        is_diffusion=False,
        enable_return_routed_experts=False,
    )
    absent = ("lora", "kv_events", "kv_transfer", "ec_transfer", "speculative")
    config: Any = SimpleNamespace(
        scheduler_config=scheduler,
        cache_config=cache,
        model_config=model,
        parallel_config=ParallelConfig(),
        observability_config=ObservabilityConfig(),
        num_speculative_tokens=0,
        use_v2_model_runner=False,
        max_concurrent_batches=1,
        **dict.fromkeys(f"{name}_config" for name in absent),
    )
    spec = FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=1, dtype=torch.float16)
    groups = [KVCacheGroupSpec(["layer"], spec)]
    structured: Any = SimpleNamespace(should_advance=lambda request: False)
    registry: Any = SimpleNamespace(supports_multimodal_inputs=lambda model: False)
    caches = KVCacheConfig(num_blocks=blocks, kv_cache_tensors=[], kv_cache_groups=groups)
    return Scheduler(config, caches, structured, block_size=BLOCK, mm_registry=registry)


if __name__ == "__main__":
    main()
