"""One prefill in this process, with the arguments of vLLM's benchmark of TRT-LLM."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Literal, TypeVar

from attnbench.compat.arguments import require_counts, require_device
from attnbench.compat.cache_write import BenchmarkFailed
from attnbench.errors import UsageError
from attnbench.families.prefill_trtllm import BASELINES
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine, read_machine
from attnbench.records import Status
from attnbench.running.cases import DEFAULT_TIMER
from attnbench.running.device import resolve_device
from attnbench.running.execute import execute
from attnbench.running.messages import Job
from attnbench.specs.batch import Batch
from attnbench.specs.case import Case, Layout, OutputDtype
from attnbench.specs.dtypes import SPELLINGS
from attnbench.specs.lengths import prompt_batches
from attnbench.specs.shape import AttnShape
from attnbench.timing.guard import unseen
from attnbench.timing.method import Method

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

FAMILY = "prefill-trtllm"
IMPLEMENTATIONS = ("trtllm-gen", "trtllm-fmha-v2")
FP8: Mapping[str, Literal["fp8"]] = {"float8_e4m3fn": "fp8"}
# As in vLLM's benchmark, uint8 means NVFP4.
OUTPUT_DTYPES: Mapping[str, OutputDtype] = {**FP8, "uint8": "nvfp4"}


class Percentage(float):
    """A number of percent, which a `%` format shows as it is: `f"{Percentage(12.5):.1%}"` is 12.5%.

    vLLM's benchmark has a fraction under `speedup_percent` and formats it with `%`.
    """

    def __format__(self, spec: str) -> str:
        """As float, but a `%` multiplies by nothing."""
        return format(self / 100 if spec.endswith("%") else float(self), spec)


def benchmark_prefill(
    dtype: "torch.dtype",
    quant_dtypes: "tuple[torch.dtype | None, torch.dtype | None, torch.dtype | None]",
    batch_size: int,
    max_seq_len: int,
    num_heads: tuple[int, int] = (64, 8),
    head_size: int = 128,
    kv_layout: Layout = "HND",
    block_size: int = 16,
    warmup: int = 10,
    trials: int = 20,
    *,
    implementation: str | None = None,
    device: str = "cuda",
) -> dict[str, object]:
    """TRT-LLM's prefill of random prompts and the baseline's of the same dtypes, in milliseconds.

    `quant_dtypes` are for q, KV cache and output; None is `dtype`, torch.uint8 NVFP4. Mean
    and standard deviation are of `trials` samples after at least `warmup` calls, measured as
    `attnbench prefill-trtllm` does. `implementation` defaults to the first TRT-LLM kernel that runs
    here; the baseline is FlashInfer's fa3, fa2 or cuDNN. If none has these dtypes, its figures are
    NaN and `baseline_refusal` says why. The speedup is (baseline - trtllm) / baseline. Raises
    UsageError for invalid arguments, and BenchmarkFailed if it cannot run or the result is wrong.
    """
    require_counts(1, batch_size=batch_size, max_seq_len=max_seq_len, trials=trials)
    require_counts(0, warmup=warmup)
    machine = read_machine(resolve_device(require_device(device)))
    batch = prompt_batches([batch_size], [max_seq_len], "random", seed=0)[0]
    shape = AttnShape(*num_heads, head_size)
    case = _case(batch, shape, dtype, quant_dtypes, block_size=block_size, layout=kv_layout)
    method = Method(DEFAULT_TIMER[machine.kind], samples=trials, warmup_calls=warmup)
    names = (find(FAMILY, implementation).name,) if implementation else IMPLEMENTATIONS
    runnable = _runnable(case, names, machine)
    baseline = next(iter(_not_refused(case, BASELINES, machine)), None)
    figures = _figures(
        _measured(runnable, method, machine),
        _measured(baseline, method, machine) if baseline else (math.nan, math.nan),
    )
    dtypes = [str(each or dtype) for each in quant_dtypes]
    return {
        "batch_size": batch_size,
        **figures,
        **dict(zip(("q_dtype", "kv_cache_dtype", "output_dtype"), dtypes, strict=True)),
        "block_size": block_size,
        "num_kv_heads": num_heads[1],
        "head_size": head_size,
        "max_seq_len": max_seq_len,
        "implementation": runnable.backend,
        "baseline": baseline.backend if baseline else None,
        "baseline_refusal": None if baseline else _refusals(case, BASELINES, machine),
    }


def _figures(
    trtllm: tuple[float, float], baseline: tuple[float, float]
) -> dict[str, float | Percentage]:
    """The mean and the standard deviation of both, milliseconds, and the speedup, by name."""
    (mean, std), (base, base_std) = trtllm, baseline
    speedup = (base - mean) / base
    return {
        "trtllm_mean": mean,
        "trtllm_std": std,
        "baseline_mean": base,
        "baseline_std": base_std,
        "speedup_fraction": speedup,
        "speedup_percent": Percentage(100 * speedup),
    }


def _case(
    batch: Batch,
    shape: AttnShape,
    dtype: object,
    quant_dtypes: Sequence[object],
    *,
    block_size: int,
    layout: Layout,
) -> Case:
    """The case without a backend; `quant_dtypes` are for q, KV cache and output."""
    query, kv, out = quant_dtypes
    return Case(
        family=FAMILY,
        backend="",
        batch=batch,
        shape=shape,
        dtype=_named(dtype, SPELLINGS),
        kv_cache_dtype=_named(kv, FP8) if kv else "auto",
        query_dtype=_named(query, FP8) if query else "auto",
        output_dtype=_named(out, OUTPUT_DTYPES) if out else "auto",
        block_size=block_size,
        layout=layout,
    )


def to_float8(
    x: "torch.Tensor", dtype: "torch.dtype | None" = None
) -> "tuple[torch.Tensor, torch.Tensor]":
    """`x` in fp8, e4m3 by default, and the fp32 scale that multiplies it back.

    The largest magnitude becomes a tenth of the largest number, as in vLLM's benchmark.
    """
    import torch

    finfo = torch.finfo(dtype or torch.float8_e4m3fn)
    scale = finfo.max / x.abs().amax().clamp(min=1e-12) * 0.1
    stored = (x * scale).clamp(min=finfo.min, max=finfo.max).to(dtype or torch.float8_e4m3fn)
    return stored, scale.float().reciprocal()


def _runnable(case: Case, names: Sequence[str], machine: Machine) -> Case:
    """The case with the first of these backends that is not refused."""
    for found in _not_refused(case, names, machine):
        return found
    raise BenchmarkFailed(_refusals(case, names, machine))


def _not_refused(case: Case, names: Iterable[str], machine: Machine) -> list[Case]:
    return [_by(case, name) for name in names if _refusal(case, name, machine) is None]


def _refusals(case: Case, names: Iterable[str], machine: Machine) -> str:
    return "; ".join(f"{name} {_refusal(case, name, machine)}" for name in names)


def _refusal(case: Case, name: str, machine: Machine) -> str | None:
    return find(FAMILY, name).refusal(_by(case, name), machine)


def _by(case: Case, name: str) -> Case:
    return replace(case, backend=name)


def _measured(case: Case, method: Method, machine: Machine) -> tuple[float, float]:
    """Mean and standard deviation of a case's samples, milliseconds."""
    job = Job(case, method, seed=0, num_layers=None, profile_memory=False, host=False)
    outcome = execute(job, machine, unseen, lambda phase: None)
    if outcome.status is not Status.OK:
        raise BenchmarkFailed(f"{case.backend} {outcome.status}: {outcome.reason}")
    samples = [1e3 * sample for sample in outcome.samples]
    return fmean(samples), stdev(samples) if len(samples) > 1 else 0.0


def _named(dtype: object, names: Mapping[str, T]) -> T:
    given = str(dtype).removeprefix("torch.")
    if given in names:
        return names[given]
    raise UsageError(f"dtype {dtype} is none of {', '.join(names)}, e.g. torch.{next(iter(names))}")
