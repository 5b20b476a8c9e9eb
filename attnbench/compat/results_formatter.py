"""Results of benchmarks run from Python, as a table, CSV or JSON."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from attnbench.compat.mla_config import BenchmarkResult
from attnbench.reporting.csv_text import csv_text
from attnbench.reporting.text_table import Column, text_table, words
from attnbench.units import MISSING, bytes_column, seconds_column, three_digits

CSV_COLUMNS = (
    "backend",
    "batch_spec",
    "num_layers",
    "kv_cache_dtype",
    "mean_time",
    "std_time",
    "throughput",
    "memory_mb",
)


class ResultsFormatter:
    """Shows and stores results; times are in seconds in files, and with their unit in the table."""

    def table(self, results: Sequence[BenchmarkResult]) -> str:
        """A row per result, with its mean over the smallest mean of its batch."""
        means = [each.mean_time if each.success else None for each in results]
        spreads = [each.std_time if each.success else None for each in results]
        peaks = [_bytes(each) for each in results]
        columns = [
            words("batch spec", [each.config.batch_spec for each in results]),
            words("backend", [_name(each) for each in results]),
            _with_unit("mean", *seconds_column(means)),
            _with_unit("std", *seconds_column(spreads)),
            Column("vs\nquickest", _factors(results)),
        ]
        if any(peak is not None for peak in peaks):
            columns.append(_with_unit("memory", *bytes_column(peaks)))
        if any(not each.success for each in results):
            columns.append(words("error", [each.error or "" for each in results]))
        return text_table(columns)

    def save_csv(self, results: Sequence[BenchmarkResult], path: str | Path) -> None:
        """Write the columns of vLLM's suite; unknown values are empty."""
        with Path(path).open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(CSV_COLUMNS)
            writer.writerows(map(csv_text, _row(each)) for each in results)

    def save_json(self, results: Sequence[BenchmarkResult], path: str | Path) -> None:
        """Write every field of every result, including its config."""
        listed = [each.to_dict() for each in results]
        Path(path).write_text(json.dumps(listed, indent=1, allow_nan=False) + "\n")


def _name(result: BenchmarkResult) -> str:
    """The backend with the settings that replace its own choice, named as vLLM's suite does."""
    config = result.config
    settings = ("reorder_batch_threshold", "num_kv_splits", "prefill_backend")
    given = [f"{name}_{getattr(config, name)}" for name in settings if getattr(config, name)]
    return "_".join([config.backend, *given])


def _with_unit(name: str, unit: str, texts: Sequence[str]) -> Column:
    return Column(f"{name}\n{unit}", texts)


def _bytes(result: BenchmarkResult) -> float | None:
    megabytes = result.memory_allocated_mb
    return None if megabytes is None else megabytes * 2**20


def _factors(results: Sequence[BenchmarkResult]) -> list[str]:
    least: dict[str, float] = {}
    for each in results:
        if each.success:
            spec = each.config.batch_spec
            least[spec] = min(each.mean_time, least.get(spec, each.mean_time))
    return [
        f"{three_digits(each.mean_time / least[each.config.batch_spec])}x"
        if each.success
        else MISSING
        for each in results
    ]


def _row(result: BenchmarkResult) -> list[object]:
    config, known = result.config, result.success
    return [
        _name(result),
        config.batch_spec,
        config.num_layers,
        config.kv_cache_dtype,
        result.mean_time if known else None,
        result.std_time if known else None,
        result.throughput_tokens_per_sec if known else None,
        result.memory_allocated_mb,
    ]
