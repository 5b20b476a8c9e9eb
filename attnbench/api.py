"""What `import attnbench` offers; what measures loads on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from attnbench.families import cost
from attnbench.specs import (
    AttnShape,
    Batch,
    BatchSpecError,
    Case,
    Cost,
    MlaShape,
    Request,
    expand_sweep,
    expand_sweeps,
    format_batch_spec,
    get_batch_stats,
    parse_batch_spec,
)

__all__ = [
    "AttnShape",
    "Batch",
    "BatchSpecError",
    "BenchmarkConfig",
    "BenchmarkResult",
    "Case",
    "Cost",
    "MlaShape",
    "Request",
    "ResultsFormatter",
    "benchmark_prefill",
    "cost",
    "expand_sweep",
    "expand_sweeps",
    "format_batch_spec",
    "get_batch_stats",
    "parse_batch_spec",
    "run_benchmark",
    "run_cutlass_mla_benchmark",
    "run_flashattn_mla_benchmark",
    "run_flashinfer_mla_benchmark",
    "run_flashmla_benchmark",
    "run_mla_benchmark",
    "to_float8",
]

if TYPE_CHECKING:
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

_MEASURING = {
    "BenchmarkConfig": "attnbench.compat.mla_config",
    "BenchmarkResult": "attnbench.compat.mla_config",
    "ResultsFormatter": "attnbench.compat.results_formatter",
    "benchmark_prefill": "attnbench.compat.prefill_trtllm",
    "run_benchmark": "attnbench.compat.cache_write",
    "run_cutlass_mla_benchmark": "attnbench.compat.mla",
    "run_flashattn_mla_benchmark": "attnbench.compat.mla",
    "run_flashinfer_mla_benchmark": "attnbench.compat.mla",
    "run_flashmla_benchmark": "attnbench.compat.mla",
    "run_mla_benchmark": "attnbench.compat.mla",
    "to_float8": "attnbench.compat.prefill_trtllm",
}


def __getattr__(name: str) -> Any:
    if name in _MEASURING:
        return getattr(import_module(_MEASURING[name]), name)
    raise AttributeError(f"module 'attnbench.api' has no attribute '{name}'")
