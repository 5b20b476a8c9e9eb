"""The case and the result of one MLA benchmark, with the names of vLLM's own suite."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median, stdev
from typing import Any

from attnbench.compat.arguments import known, require_counts
from attnbench.errors import UsageError
from attnbench.kernels.registry import find
from attnbench.records import Outcome, Status
from attnbench.running.cases import DEFAULT_DTYPE, DEFAULT_TIMER
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case, Dtype, KvDtype, Scope, Value
from attnbench.specs.dtypes import SPELLINGS
from attnbench.specs.shape import MlaShape
from attnbench.timing.method import Method, Timer


@dataclass(frozen=True, slots=True)
class BenchmarkConfig:
    """One MLA case and how to time it. None leaves a field to the backend or the device.

    head_dim and num_kv_heads follow from the other dims, and are accepted if they agree.
    `num_layers` is the number of working sets that calls rotate over, `repeats` the samples of a
    round; None chooses enough of them. `device` is auto, cpu or cuda:N.
    """

    backend: str
    batch_spec: str
    num_layers: int | None = None
    head_dim: int | None = None
    num_q_heads: int = 128
    num_kv_heads: int | None = None
    block_size: int | None = None
    device: str = "auto"
    dtype: object = None  # a torch dtype or its name
    repeats: int | None = None
    warmup_iters: int | None = None
    profile_memory: bool = False
    use_cuda_graphs: bool = True
    kv_cache_dtype: KvDtype = "auto"
    prefill_backend: str | None = None
    kv_lora_rank: int = 512
    qk_nope_head_dim: int = 128
    qk_rope_head_dim: int = 64
    v_head_dim: int = 128
    num_kv_splits: int | None = None
    reorder_batch_threshold: int | None = None
    index_topk: int | None = None
    scope: Scope | None = None  # kernel or layer; layer if a threshold is given
    rounds: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """Seconds per call over the samples of all rounds; NaN and the reason if there are none.

    `result['mean']`, 'median', 'std', 'min', 'max' and 'throughput' read the fields of those names.
    """

    config: BenchmarkConfig
    mean_time: float
    median_time: float
    std_time: float
    min_time: float
    max_time: float
    throughput_tokens_per_sec: float = math.nan  # query tokens through this one layer
    memory_allocated_mb: float | None = None  # peak of a call, without inputs, in 2^20 bytes
    error: str | None = None

    @property
    def success(self) -> bool:
        """Whether there is a time."""
        return self.error is None

    def __getitem__(self, name: str) -> Any:
        if name == "throughput":
            return self.throughput_tokens_per_sec
        if name in ("mean", "median", "std", "min", "max"):
            return getattr(self, f"{name}_time")
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: None in place of NaN."""
        config = asdict(self.config) | {"dtype": _dtype_name(self.config)}
        fields = asdict(self) | {"config": config}
        return {name: None if _is_nan(value) else value for name, value in fields.items()}


def method_of(config: BenchmarkConfig, kind: str) -> Method:
    """The timing method on a device of that kind."""
    graphs: Timer = DEFAULT_TIMER["cuda"] if config.use_cuda_graphs else "eager"
    timer = DEFAULT_TIMER["cpu"] if kind == "cpu" else graphs
    return Method(timer, samples=config.repeats, warmup_calls=config.warmup_iters)


def case_of(config: BenchmarkConfig, kind: str) -> Case:
    """The case on a device of that kind; UsageError for an invalid config."""
    require_counts(1, repeats=config.repeats, num_layers=config.num_layers, rounds=config.rounds)
    require_counts(0, warmup_iters=config.warmup_iters, seed=config.seed)
    shape = _shape(config)
    knobs: dict[str, Value | None] = {
        "threshold": config.reorder_batch_threshold,
        "num_splits": config.num_kv_splits,
        "prefill_backend": config.prefill_backend,
    }
    usual: Scope = "kernel" if config.reorder_batch_threshold is None else "layer"
    backend = find("mla", config.backend)
    needed = backend.needs.get("index_topk")
    return Case(
        family="mla",
        backend=backend.name,
        batch=parse_batch_spec(config.batch_spec),
        shape=shape,
        dtype=_dtype_name(config) or DEFAULT_DTYPE[kind],
        kv_cache_dtype=config.kv_cache_dtype,
        block_size=config.block_size,
        scope=config.scope or usual,
        index_topk=config.index_topk or (None if needed is None else int(needed)),
        knobs=tuple((name, value) for name, value in knobs.items() if value is not None),
    )


def _shape(config: BenchmarkConfig) -> MlaShape:
    dims = ("num_q_heads", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    shape = MlaShape(**{name: getattr(config, name) for name in dims})
    for name, right in (("head_dim", shape.latent_dim), ("num_kv_heads", 1)):
        if getattr(config, name) not in (None, right):
            raise UsageError(
                f"{name}={getattr(config, name)}: MLA of these dims has {right}; leave it out or "
                f"give {name}={right}"
            )
    return shape


def result_of(config: BenchmarkConfig, outcomes: Sequence[Outcome]) -> BenchmarkResult:
    """The result over the samples of all rounds; the reason of the last outcome if not ok."""
    last = outcomes[-1]
    samples = [sample for outcome in outcomes for sample in outcome.samples]
    if last.status is not Status.OK:
        fields = ("mean_time", "median_time", "std_time", "min_time", "max_time")
        unknown: Any = dict.fromkeys(fields, math.nan)
        return BenchmarkResult(config, error=f"{last.status}: {last.reason}", **unknown)
    tokens, peak = parse_batch_spec(config.batch_spec).num_tokens, last.peak_memory
    return BenchmarkResult(
        config,
        mean_time=fmean(samples),
        median_time=median(samples),
        std_time=stdev(samples) if len(samples) > 1 else 0.0,
        min_time=min(samples),
        max_time=max(samples),
        throughput_tokens_per_sec=tokens / fmean(samples),
        memory_allocated_mb=None if peak is None else peak / 2**20,
    )


def _dtype_name(config: BenchmarkConfig) -> Dtype | None:
    if config.dtype is None:
        return None
    return known("dtype", str(config.dtype).removeprefix("torch."), SPELLINGS)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
