"""MLA benchmarks from Python, with the names of the runner in vLLM's own suite."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from attnbench.compat.arguments import require_device
from attnbench.compat.mla_config import (
    BenchmarkConfig,
    BenchmarkResult,
    case_of,
    method_of,
    result_of,
)
from attnbench.kernels.registry import find
from attnbench.records import Outcome, Status
from attnbench.running.messages import Job
from attnbench.running.plan import Limits
from attnbench.running.process import WorkerProcess
from attnbench.running.workers import Workers

LIMITS = Limits()
_log = logging.getLogger(__name__)


def run_mla_benchmark(
    backend: str,
    config: BenchmarkConfig | Sequence[BenchmarkConfig | tuple[BenchmarkConfig, int | None]],
    reorder_batch_threshold: int | None = None,
    num_kv_splits: int | None = None,
    index_topk: int | None = None,
    prefill_backend: str | None = None,
) -> BenchmarkResult | list[BenchmarkResult]:
    """Measure one case, or several in one worker process; results in the order of the configs.

    In a (config, value) the value is the threshold, or the split count if the backend has splits
    but no threshold. Arguments override a config's own fields. If a case cannot run or fails, its
    result's `error` has the reason; UsageError for an invalid config.
    """
    given = {
        "backend": backend,
        "reorder_batch_threshold": reorder_batch_threshold,
        "num_kv_splits": num_kv_splits,
        "index_topk": index_topk,
        "prefill_backend": prefill_backend,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if isinstance(config, BenchmarkConfig):
        return _measured([replace(config, **given)])[0]  # type: ignore[arg-type]
    unpacked = [_with_value(backend, each) for each in config]
    return _measured([replace(each, **given) for each in unpacked])  # type: ignore[arg-type]


def run_cutlass_mla_benchmark(
    config: BenchmarkConfig, num_kv_splits: int | None = None
) -> BenchmarkResult:
    """`run_mla_benchmark` of cutlass_mla, with that many splits."""
    return _single("cutlass_mla", config, num_kv_splits=num_kv_splits)


def run_flashinfer_mla_benchmark(config: BenchmarkConfig) -> BenchmarkResult:
    """`run_mla_benchmark` of flashinfer_mla."""
    return _single("flashinfer_mla", config)


def run_flashattn_mla_benchmark(
    config: BenchmarkConfig, reorder_batch_threshold: int | None = None
) -> BenchmarkResult:
    """`run_mla_benchmark` of flashattn_mla, with that threshold."""
    return _single("flashattn_mla", config, reorder_batch_threshold=reorder_batch_threshold)


def run_flashmla_benchmark(
    config: BenchmarkConfig, reorder_batch_threshold: int | None = None
) -> BenchmarkResult:
    """`run_mla_benchmark` of flashmla, with that threshold."""
    return _single("flashmla", config, reorder_batch_threshold=reorder_batch_threshold)


def _single(backend: str, config: BenchmarkConfig, **given: int | None) -> BenchmarkResult:
    result = run_mla_benchmark(backend, config, **given)  # type: ignore[arg-type]
    assert isinstance(result, BenchmarkResult)
    return result


def _with_value(
    backend: str, config: BenchmarkConfig | tuple[BenchmarkConfig, int | None]
) -> BenchmarkConfig:
    if isinstance(config, BenchmarkConfig):
        return config
    config, value = config
    knobs = find("mla", backend).knobs
    if "threshold" in knobs and not ("num_splits" in knobs and _single_token(backend)):
        return replace(config, reorder_batch_threshold=value)
    return replace(config, num_kv_splits=value)


def _single_token(backend: str) -> bool:
    """Whether it only takes a threshold of 1."""
    return getattr(find("mla", backend), "query_lens", "varlen") == "single"


def _measured(configs: Sequence[BenchmarkConfig]) -> list[BenchmarkResult]:
    for config in configs:
        _require_meaning(config)
    results: dict[int, BenchmarkResult] = {}
    for device in dict.fromkeys(require_device(config.device) for config in configs):
        with Workers(WorkerProcess.start, device) as workers:
            for at, config in enumerate(configs):
                if config.device == device:
                    results[at] = _with_reason_logged(result_of(config, _outcomes(config, workers)))
    return [results[at] for at in range(len(configs))]


def _require_meaning(config: BenchmarkConfig) -> None:
    """Raise UsageError before anything is measured, if the kind of device is known then."""
    require_device(config.device)
    kind = config.device.partition(":")[0]
    if kind != "auto":
        case_of(config, kind)
        method_of(config, kind)


def _with_reason_logged(result: BenchmarkResult) -> BenchmarkResult:
    """Log the error of a result without a time, since its NaN does not say why."""
    if result.error is not None:
        _log.warning("%s %s: %s", result.config.backend, result.config.batch_spec, result.error)
    return result


def _outcomes(config: BenchmarkConfig, workers: Workers) -> list[Outcome]:
    """The outcomes of the rounds, until one fails."""
    kind, outcomes = workers.machine.kind, list[Outcome]()
    case, method = case_of(config, kind), method_of(config, kind)
    for round_ in range(config.rounds):
        job = Job(
            case,
            method,
            seed=config.seed + round_,
            num_layers=config.num_layers,
            profile_memory=config.profile_memory,
            host=False,
        )
        outcomes.append(workers.outcome(job, LIMITS))
        if outcomes[-1].status is not Status.OK:
            break
    return outcomes
