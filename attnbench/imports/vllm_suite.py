"""vLLM's attention benchmark suite (benchmarks/attention_benchmarks): its JSON and its CSV.

Times are seconds per layer. A JSON row has its dims; for a CSV row they must be given. Neither has
the dtype (the JSON's is a default that the suite never sets): its models and MLA use bf16.
"""

from collections.abc import Mapping
from typing import get_args

from attnbench.errors import UsageError
from attnbench.families import SUITE_KNOBS
from attnbench.imports.result import (
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
from attnbench.kernels.registry import backends
from attnbench.reasons import first_line
from attnbench.records import Outcome, Status
from attnbench.specs.batch import BatchSpecError, parse_batch_spec
from attnbench.specs.case import Case, KvDtype, TopkPattern, Value
from attnbench.specs.shape import AttnShape, MlaShape, Shape
from attnbench.specs.sparse import pattern_named
from attnbench.timing.method import Method

CSV_COLUMNS = {"backend", "batch_spec", "num_layers", "mean_time"}

_KV_CACHE_DTYPES: Mapping[str, KvDtype] = {
    "": "auto",
    "bfloat16": "auto",
    **{name: name for name in get_args(KvDtype)},
}
# Not of a case, or read into one. The suite lists limits of its own sweep with every row.
_KNOWN = {
    *("backend", "batch_spec", "block_size", "device", "dtype", "kv_cache_dtype"),
    *("head_dim", "num_q_heads", "num_kv_heads", "v_head_dim"),
    *("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "sparse_mla_topk_pattern"),
    *("use_cuda_graphs", "profile_memory", "warmup_ms", "warmup_iters", "repeats"),
    *("torch_profile_dir", "torch_profile_iters"),
    *("sparse_mla_dense_mha_max_seq_len", "sparse_mla_masked_mha_max_seq_len"),
    *("mean_time", "median_time", "std_time", "min_time", "max_time", "throughput", "memory_mb"),
    *SUITE_KNOBS,
}
_UNSET = ("False", "auto")  # as in files of releases without the key
_MLA_HEAD_DIM = 576  # the suite's sign for DeepSeek's dims when they are not given


def is_vllm_json(rows: object) -> bool:
    """Whether JSON is the suite's."""
    return (
        isinstance(rows, list)
        and bool(rows)
        and all(isinstance(row, Mapping) and isinstance(row.get("config"), Mapping) for row in rows)
        and all("batch_spec" in row["config"] for row in rows)
    )


def read_json_row(row: Row, shape: Shape | None) -> ForeignResult:
    """A row of the JSON; NotMapped without a counterpart."""
    config = row["config"]
    assert isinstance(config, Mapping)
    statistic = "median" if text(row, "median_time") else "mean"
    case = _case(config, _told_shape(config))
    words = ["vllm"]
    if "use_cuda_graphs" in config:
        words.append("cudagraph" if config["use_cuda_graphs"] else "eager")
    method = foreign_method(*words, statistic)
    if error := text(row, "error"):
        return ForeignResult(case, method, Outcome(Status.ERROR, error))
    return _timed(case, method, row, f"{statistic}_time")


def read_csv_row(row: Row, shape: Shape | None) -> ForeignResult:
    """A row of the CSV, which has no dims; NotMapped without a counterpart."""
    if shape is None:
        raise NotMapped("the CSV has no heads and dims: name the model, e.g. --model llama3-8b")
    if isinstance(shape, MlaShape) is not _is_mla(text(row, "backend")):
        kind = "multi-head latent attention" if isinstance(shape, MlaShape) else "plain attention"
        raise NotMapped(f"--model has {kind}, and {text(row, 'backend')} is for the other")
    case = _case(row, shape)
    return _timed(case, foreign_method("vllm", "mean"), row, "mean_time")


def _timed(case: Case, method: Method, row: Row, column: str) -> ForeignResult:
    return ForeignResult(case, method, timed_outcome(case, seconds_of(row, column, 1.0)))


def _case(config: Row, shape: Shape) -> Case:
    backend = required(config, "backend")
    kv_cache_dtype = text(config, "kv_cache_dtype")
    if kv_cache_dtype not in _KV_CACHE_DTYPES:
        raise NotMapped(f"a KV cache of {kv_cache_dtype} has no counterpart")
    try:
        batch = parse_batch_spec(text(config, "batch_spec"))
    except BatchSpecError as error:
        raise NotMapped(first_line(error)) from None
    sparse = "SPARSE" in backend.upper()
    return Case(
        family="mla" if isinstance(shape, MlaShape) else "attn",
        backend=backend,
        batch=batch,
        shape=shape,
        dtype="bf16",
        kv_cache_dtype=_KV_CACHE_DTYPES[kv_cache_dtype],
        block_size=whole(config, "block_size") if text(config, "block_size") else None,
        topk_pattern=_pattern(config) if sparse else "random",
        knobs=tuple(_knobs(config).items()),
    )


def _knobs(config: Row) -> dict[str, Value]:
    return {
        ours: value
        for theirs, ours in SUITE_KNOBS.items()
        if isinstance(value := config.get(theirs), str | int) and value is not False
    } | {
        name: value for name, value in foreign_knobs(config, _KNOWN).items() if value not in _UNSET
    }


def _pattern(config: Row) -> TopkPattern:
    named = text(config, "sparse_mla_topk_pattern") or "random"
    if (pattern := pattern_named(named)) is None:
        raise NotMapped(f"the top-k pattern {named} has no counterpart")
    return pattern


def _is_mla(backend: str) -> bool:
    ours = {name for each in backends("mla") for name in (each.name, *each.aliases)}
    return "MLA" in backend.upper() or backend.partition("_")[0] in ours


def _told_shape(config: Row) -> Shape:
    try:
        if _is_mla(text(config, "backend")) or text(config, "kv_lora_rank"):
            return _mla_shape(config)
        head_dim = whole(config, "head_dim")
        if text(config, "v_head_dim") not in ("", str(head_dim)):
            raise NotMapped("values of another head size than keys have no counterpart")
        return AttnShape(whole(config, "num_q_heads"), whole(config, "num_kv_heads"), head_dim)
    except UsageError as error:
        raise NotMapped(str(error)) from None


def _mla_shape(config: Row) -> MlaShape:
    heads = whole(config, "num_q_heads")
    dims = ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    if all(text(config, name) for name in dims):
        return MlaShape(heads, *(whole(config, name) for name in dims))
    if whole(config, "head_dim") == _MLA_HEAD_DIM:
        return MlaShape(heads)
    raise NotMapped("its MLA dims are missing")
