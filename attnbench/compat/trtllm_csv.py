"""Prefills as CSV with the columns of vLLM's benchmark of TRT-LLM, in milliseconds as there.

Its `speedup_percent` is a fraction: here that is `speedup_fraction`, and `speedup_percent` is a
percentage. Our own columns come last.
"""

import csv
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev
from typing import TextIO

from attnbench.analysis.series import Series, series_of
from attnbench.db.store import Store
from attnbench.families.prefill_trtllm import BASELINES
from attnbench.results.report import Report
from attnbench.specs.shape import AttnShape

COLUMNS = (
    "batch_size",
    "trtllm_mean",
    "trtllm_std",
    "baseline_mean",
    "baseline_std",
    "speedup_fraction",
    "speedup_percent",
    "q_dtype",
    "kv_cache_dtype",
    "output_dtype",
    "block_size",
    "num_kv_heads",
    "head_size",
    "max_seq_len",
    "implementation",
    "baseline",
    "num_qo_heads",
    "kv_layout",
)


def write_trtllm_csv(store: Store, report: Report, file: TextIO) -> None:
    """Write a line per implementation of a workload, except its baseline.

    The baseline has the same dtypes; if none was measured its cells are empty.
    """
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for rivals in _by_workload(series_of(report.measurements)):
        baseline = baseline_of(rivals)
        writer.writerows(_row(store, each, baseline) for each in rivals if each is not baseline)


def baseline_of(rivals: Sequence[Series]) -> Series | None:
    """The baseline among the implementations of one workload."""
    by_name = {each.case.backend: each for each in rivals}
    return next((by_name[name] for name in BASELINES if name in by_name), None)


def _by_workload(listed: Iterable[Series]) -> list[list[Series]]:
    """The timed ones of each workload, method, layout and block size."""
    groups: dict[tuple[object, ...], list[Series]] = {}
    for each in listed:
        if each.time is not None:
            ran = (each.resolved["block_size"], each.resolved["layout"])
            key = (each.first.workload_key, each.first.method_key, each.first.machine_model, *ran)
            groups.setdefault(key, []).append(each)
    return list(groups.values())


def _row(store: Store, series: Series, baseline: Series | None) -> dict[str, object]:
    case, shape = series.case, series.case.shape
    assert isinstance(shape, AttnShape)
    mean, std = _moments(store, series)
    row: dict[str, object] = {"trtllm_mean": mean, "trtllm_std": std}
    if baseline is not None:
        base, base_std = _moments(store, baseline)
        speedup = (base - mean) / base
        row |= {"baseline": baseline.case.backend, "baseline_mean": base, "baseline_std": base_std}
        row |= {"speedup_fraction": speedup, "speedup_percent": 100 * speedup}
    dtypes: dict[str, str] = {"q_dtype": case.query_dtype, "kv_cache_dtype": case.kv_cache_dtype}
    dtypes["output_dtype"] = case.output_dtype
    return {
        **row,
        **{name: case.dtype if asked == "auto" else asked for name, asked in dtypes.items()},
        "batch_size": len(case.batch),
        "block_size": series.resolved["block_size"],
        "num_kv_heads": shape.num_kv_heads,
        "head_size": shape.head_dim,
        "max_seq_len": case.batch.max_kv_len,
        "implementation": case.backend,
        "num_qo_heads": shape.num_q_heads,
        "kv_layout": series.resolved["layout"],
    }


def _moments(store: Store, series: Series) -> tuple[float, float]:
    """Mean and standard deviation of all rounds' samples, milliseconds."""
    samples = [1e3 * float(s) for each in series.timed for s in store.samples(each.id)]
    return fmean(samples), stdev(samples) if len(samples) > 1 else 0.0
