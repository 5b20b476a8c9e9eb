"""The attention routines in the CSV of FlashInfer's flashinfer_benchmark.py.

Times are milliseconds. Randomly drawn lengths are not in the file, so such rows have no
counterpart.
"""

from collections.abc import Mapping

from attnbench.errors import UsageError
from attnbench.imports.result import (
    BEYOND,
    ForeignResult,
    NotMapped,
    Row,
    foreign_knobs,
    foreign_method,
    required,
    seconds_of,
    text,
    timed_outcome,
    whole,
)
from attnbench.specs.batch import Batch, BatchSpecError, Request
from attnbench.specs.case import Case, Dtype, KvDtype, OutputDtype, Value
from attnbench.specs.dtypes import FP8_SPELLINGS, SPELLINGS
from attnbench.specs.grammar import MAX_REQUESTS
from attnbench.specs.shape import AttnShape, MlaShape, Shape
from attnbench.timing.method import Method

CSV_COLUMNS = {"routine", "median_time", "backend", "s_qo", "s_kv", "batch_size"}

_WRAPPERS = {
    "BatchDecodeWithPagedKVCacheWrapper": "decode",
    "BatchPrefillWithPagedKVCacheWrapper": "prefill",
    "BatchPrefillWithRaggedKVCacheWrapper": "ragged",
    "BatchMLAPagedAttentionWrapper": "mla",
}
# Read into a case, measured, or without effect on a time.
_KNOWN = {
    *("routine", "backend", "batch_size", "s_qo", "s_kv", "causal", "page_size"),
    *("num_qo_heads", "num_kv_heads", "head_dim_qk", "head_dim_vo", "head_dim_ckv", "head_dim_kpe"),
    *("q_dtype", "kv_dtype", "random_actual_seq_len", "avg_actual_seq_len"),
    *("use_cupti", "no_cuda_graph", "median_time", "std_time", "tflops", "tb_per_sec"),
    *("refcheck", "allow_output_mismatch", "random_seed"),
    *("generate_repro_command", "repro_command", BEYOND),
}
_FREE_TEXT = ("repro_command", "case_tag", "resolved_backend")  # may have commas in them
_FLAGS = ("random_actual_seq_len", "no_cuda_graph", "use_cupti", "generate_repro_command")
_OUTPUTS: Mapping[str, OutputDtype] = {"nvfp4": "nvfp4", "fp8_e4m3": "fp8", "float8_e4m3fn": "fp8"}
_MLA_DIMS = (512, 64)  # latent and RoPE: DeepSeek's, whose other dims are known


def read_csv_row(row: Row, shape: Shape | None) -> ForeignResult:
    """A row of the CSV, which has its dims; NotMapped without a counterpart."""
    row = _aligned(row)
    routine = text(row, "routine")
    if routine not in _WRAPPERS:
        raise NotMapped(f"{routine or 'a row without a routine'} is not attention")
    if text(row, "random_actual_seq_len") == "True":
        raise NotMapped("its lengths were drawn at random and are not in the file")
    wrapper, dtype = _WRAPPERS[routine], _dtype(row, "q_dtype")
    try:
        case = Case(
            family="mla" if wrapper == "mla" else "attn",
            backend=f"flashinfer-{required(row, 'backend')}",
            batch=_batch(row),
            shape=_mla_shape(row) if wrapper == "mla" else _attn_shape(row),
            dtype=dtype,
            kv_cache_dtype=_kv_cache_dtype(row, dtype),
            output_dtype=_output_dtype(row, dtype),
            block_size=None if wrapper == "ragged" else whole(row, "page_size"),
            knobs=(("wrapper", wrapper), *_others(row).items()),
        )
    except (BatchSpecError, UsageError) as error:
        raise NotMapped(str(error)) from None
    outcome = timed_outcome(case, seconds_of(row, "median_time", 1e-3))
    return ForeignResult(case, _method(row), outcome)


def _aligned(row: Row) -> Row:
    """The cells under their columns. The file is written without quotes, so commas move cells."""
    beyond = row.get(BEYOND)
    if not isinstance(beyond, list):
        return row
    names = [name for name in row if name != BEYOND]
    cells = [*(str(row[name]) for name in names), *map(str, beyond)]
    for name in filter(names.__contains__, _FREE_TEXT):
        first = names.index(name)
        last = first + len(beyond) + 1
        joined = [*cells[:first], ",".join(cells[first:last]), *cells[last:]]
        found = dict(zip(names, joined, strict=True))
        if all(text(found, flag) in ("", "True", "False") for flag in _FLAGS):
            return found
    raise NotMapped(f"it has {len(beyond)} more cells than columns: a cell has commas in it")


def _others(row: Row) -> dict[str, Value]:
    """The columns that have no field of a case; which kernel ran says more only beside another."""
    found = foreign_knobs(row, {*_KNOWN, "out_dtype"})
    if found.get("foreign.resolved_backend") == text(row, "backend"):
        del found["foreign.resolved_backend"]
    return found


def _output_dtype(row: Row, dtype: Dtype) -> OutputDtype:
    named = text(row, "out_dtype").removeprefix("torch.")
    if SPELLINGS.get(named, dtype) == dtype and (not named or named in SPELLINGS):
        return "auto"
    if named not in _OUTPUTS:
        raise NotMapped(f"an output of {named} after queries of {dtype} has no counterpart")
    return _OUTPUTS[named]


def _method(row: Row) -> Method:
    timer = "cupti" if text(row, "use_cupti") == "True" else "events"
    graph = "eager" if text(row, "no_cuda_graph") == "True" else "cudagraph"
    return foreign_method("flashinfer", timer, graph, "median")


def _batch(row: Row) -> Batch:
    q_len = whole(row, "s_qo") if text(row, "s_qo") else 1
    if q_len > 1 and text(row, "causal") != "True":
        raise NotMapped("it is not causal")
    if (count := whole(row, "batch_size")) > MAX_REQUESTS:
        raise NotMapped(f"batch_size {count} is over {MAX_REQUESTS}")
    return Batch((Request(q_len, whole(row, "s_kv")),) * count)


def _attn_shape(row: Row) -> AttnShape:
    head_dim = whole(row, "head_dim_qk")
    if text(row, "head_dim_vo") not in ("", str(head_dim)):
        raise NotMapped("values of another head size than keys have no counterpart")
    return AttnShape(whole(row, "num_qo_heads"), whole(row, "num_kv_heads"), head_dim)


def _mla_shape(row: Row) -> MlaShape:
    dims = whole(row, "head_dim_ckv"), whole(row, "head_dim_kpe")
    if dims != _MLA_DIMS:
        raise NotMapped(f"the other dims of MLA with {dims[0]} and {dims[1]} are unknown")
    return MlaShape(whole(row, "num_qo_heads"))


def _dtype(row: Row, column: str) -> Dtype:
    named = text(row, column).removeprefix("torch.")
    if named not in SPELLINGS:
        raise NotMapped(f"{column} {named or 'unknown'} has no counterpart")
    return SPELLINGS[named]


def _kv_cache_dtype(row: Row, dtype: Dtype) -> KvDtype:
    named = text(row, "kv_dtype").removeprefix("torch.")
    if named in FP8_SPELLINGS:
        return FP8_SPELLINGS[named]
    if SPELLINGS.get(named, dtype) == dtype:
        return "auto"
    raise NotMapped(f"keys and values of {named} under queries of {dtype} have no counterpart")
