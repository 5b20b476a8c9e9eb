"""vLLM's names: the functions, files and configurations of its attention benchmark suite."""

from attnbench.compat.cache_write import run_benchmark
from attnbench.compat.mla import (
    run_cutlass_mla_benchmark,
    run_flashattn_mla_benchmark,
    run_flashinfer_mla_benchmark,
    run_flashmla_benchmark,
    run_mla_benchmark,
)
from attnbench.compat.mla_config import BenchmarkConfig, BenchmarkResult
from attnbench.compat.prefill_trtllm import benchmark_prefill, to_float8
from attnbench.compat.results_formatter import ResultsFormatter

__all__ = [
    "BenchmarkConfig",
    "BenchmarkResult",
    "ResultsFormatter",
    "benchmark_prefill",
    "run_benchmark",
    "run_cutlass_mla_benchmark",
    "run_flashattn_mla_benchmark",
    "run_flashinfer_mla_benchmark",
    "run_flashmla_benchmark",
    "run_mla_benchmark",
    "to_float8",
]
