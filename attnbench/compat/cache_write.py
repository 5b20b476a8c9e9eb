"""One cache write in this process, with the arguments of vLLM's own benchmark."""

from collections.abc import Mapping
from statistics import median

from attnbench.compat.arguments import known, require_counts, require_device
from attnbench.errors import AttnbenchError
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine, read_machine
from attnbench.records import Status
from attnbench.running.cases import DEFAULT_TIMER
from attnbench.running.device import resolve_device
from attnbench.running.execute import execute
from attnbench.running.memory import working_sets
from attnbench.running.messages import Job
from attnbench.specs.batch import Batch, Request
from attnbench.specs.case import Case, KvDtype, Layout
from attnbench.specs.dtypes import SPELLINGS
from attnbench.specs.shape import AttnShape
from attnbench.timing.guard import unseen
from attnbench.timing.method import Method, Timer

TIMERS: Mapping[str, Timer] = {"cudagraph": "cudagraph", "no_graph": "eager", "eager": "eager"}


class BenchmarkFailed(AttnbenchError):
    """A benchmark without a time; the message has its status and the reason."""


def run_benchmark(
    num_tokens: int,
    num_heads: int,
    head_size: int,
    block_size: int,
    num_blocks: int | None,
    dtype: object,
    kv_cache_dtype: KvDtype,
    kv_cache_layout: Layout,
    num_iters: int,
    implementation: str,
    benchmark_mode: str,
    device: str = "cuda",
) -> float:
    """Seconds of one write of new keys and values: the median of `num_iters` samples.

    Measured as `attnbench cache-write` does: on cold slots, checked, the device's time alone.
    `dtype` is a torch dtype or its name, and `num_blocks` None makes the cache as large as needed;
    in a smaller one as many working sets are used as it holds. On a CPU `benchmark_mode` does not
    apply. Raises UsageError for invalid arguments, and BenchmarkFailed if it cannot run or writes
    wrong values.
    """
    require_counts(1, num_iters=num_iters)
    case = Case(
        family="cache-write",
        backend=find("cache-write", implementation).name,
        batch=Batch((Request(num_tokens, num_tokens),)),
        shape=AttnShape(num_heads, num_heads, head_size),
        dtype=known("dtype", str(dtype).removeprefix("torch."), SPELLINGS),
        kv_cache_dtype=kv_cache_dtype,
        block_size=block_size,
        layout=kv_cache_layout,
        knobs=() if num_blocks is None else (("num_blocks", num_blocks),),
    )
    timer = known("benchmark_mode", benchmark_mode, TIMERS)
    return _median(case, timer, num_iters, device)


def _median(case: Case, timer: Timer, samples: int, device: str) -> float:
    import torch

    machine = read_machine(resolve_device(require_device(device)))
    method = Method(DEFAULT_TIMER["cpu"] if machine.kind == "cpu" else timer, samples=samples)
    job = Job(
        case, method, seed=0, num_layers=_sets(case, machine), profile_memory=False, host=False
    )
    outcome = execute(job, machine, unseen, lambda phase: None)
    if machine.kind == "cuda":
        torch.cuda.empty_cache()
    if outcome.status is not Status.OK:
        raise BenchmarkFailed(f"{outcome.status}: {outcome.reason}")
    return median(outcome.samples)


def _sets(case: Case, machine: Machine) -> int | None:
    """The number of working sets in a cache of the given size; None if that is left open."""
    blocks = case.knob("num_blocks")
    if blocks is None or case.block_size is None:
        return None
    fitting = (int(blocks) * case.block_size - 1) // case.batch.num_tokens
    return max(1, min(fitting, working_sets(case, machine)))
