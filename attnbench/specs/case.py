"""A case: everything that was requested, frozen and hashable. `diff` pairs results by it."""

import hashlib
import json
from dataclasses import MISSING, dataclass, field, fields
from functools import lru_cache
from typing import Literal, Self

from attnbench.specs.batch import Batch, parse_batch_spec
from attnbench.specs.shape import DIMS, AttnShape, MlaShape, Shape

Value = str | int | float | bool
Dtype = Literal["bf16", "fp16", "fp32"]
KvDtype = Literal["auto", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_ds_mla"]
QueryDtype = Literal["auto", "fp8"]
OutputDtype = Literal["auto", "fp8", "nvfp4"]
Layout = Literal["NHD", "HND"]
Scope = Literal["kernel", "layer"]
TopkPattern = Literal["random", "window", "prefix"]
KvData = Literal["random", "normal", "zeros"]
PageOrder = Literal["scattered", "contiguous"]
Inputs = Literal["hot", "cold"]

# Best-backend tables group rows by all fields that are not merely a choice of implementation.
WORKLOAD_FIELDS = frozenset(
    {"family", "batch", "dtype", "query_dtype", "kv_cache_dtype", "output_dtype", "scope"}
    | {"window", "softcap", "sinks", "index_topk", "topk_pattern", "kv_data", "page_order"}
    | {"pool_gib", "inputs"}
    | {"scope_version", *DIMS}
)


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement as requested; its row holds the values it resolved to.

    The batch is kept in execution order (decode first), so two spellings of one batch are one
    case. A new field needs a default that keeps today's meaning: defaults are left out of the
    hash, so old hashes stay.
    """

    family: str  # attn, mla, cache-write, prefill-trtllm
    backend: str  # canonical name of the implementation
    batch: Batch
    shape: Shape
    dtype: Dtype  # of q, new k and v, and output
    kv_cache_dtype: KvDtype = "auto"  # auto is dtype
    query_dtype: QueryDtype = "auto"  # of q as the kernel gets it
    output_dtype: OutputDtype = "auto"  # of the kernel's output
    block_size: int | None = None  # tokens a page; None leaves it to the backend
    layout: Layout | None = None  # None leaves it to the backend
    scope: Scope = "kernel"  # kernel: the backend's forward; layer: all that production runs
    window: int | None = None  # keys that a query sees, its own included; None is all
    softcap: float | None = None  # c of scores = c * tanh(scores / c)
    sinks: bool = False  # a learned logit per head that takes weight and has no value
    index_topk: int | None = None  # sparse MLA: keys selected per query
    topk_pattern: TopkPattern = "random"  # which keys; window is the last ones
    kv_data: KvData = "random"  # of the cache; random is normal with needles
    page_order: PageOrder = "scattered"  # of a request's pages in the pool
    pool_gib: float | None = None  # least size of the pool; None is little more than needed
    inputs: Inputs = "cold"  # of a cache write: whether it finds them in the L2
    scope_version: int | None = None  # an earlier meaning of scope; None is the current one
    knobs: tuple[tuple[str, Value], ...] = field(default=())  # settings of some backends only

    def __post_init__(self) -> None:
        object.__setattr__(self, "batch", self.batch.in_execution_order())
        object.__setattr__(self, "knobs", tuple(sorted(self.knobs)))
        if self.scope_version == self._todays_version:
            object.__setattr__(self, "scope_version", None)

    @property
    def _todays_version(self) -> int:
        """Raised when a scope includes other work, so old times never pair with new ones.

        2: scope layer writes the new latents of MLA, and quantises queries for an fp8 cache.
        """
        quantised = self.kv_cache_dtype.startswith("fp8")
        added = self.scope == "layer" and (isinstance(self.shape, MlaShape) or quantised)
        return 2 if added else 1

    def knob(self, name: str) -> Value | None:
        """The requested value; None leaves it to the backend."""
        return dict(self.knobs).get(name)

    def fields(self) -> dict[str, Value | None]:
        """Every field by flat name: the case's, the shape's dims, then the knobs that are set.

        Defaults are included; None where the case leaves a field open. The batch is its spec.
        """
        found = {name: getattr(self, name) for name in _REQUIRED} | {"batch": str(self.batch)}
        found |= {f.name: getattr(self.shape, f.name) for f in fields(self.shape)}
        found |= {name: getattr(self, name) for name in _DEFAULTS}
        found["scope_version"] = self.scope_version or self._todays_version
        return found | dict(self.knobs)

    def without(self, *names: str) -> frozenset[tuple[str, Value | None]]:
        """All fields except `names`: equal for cases that differ only in these."""
        return frozenset(item for item in self.fields().items() if item[0] not in names)

    def canonical(self) -> dict[str, Value]:
        """The fields that are not at their default, as hashed and stored."""
        return {
            name: value
            for name, value in self.fields().items()
            if value is not None and value != _DEFAULTS.get(name)
        }

    @classmethod
    def from_canonical(cls, requested: dict[str, Value]) -> Self:
        """The inverse of `canonical`."""
        rest = dict(requested)
        kind = MlaShape if "kv_lora_rank" in rest else AttnShape
        shape = kind(**{f.name: int(rest.pop(f.name)) for f in fields(kind)})
        batch = _read_batch(str(rest.pop("batch")))
        known = _DEFAULT_VERSION | {name: rest.pop(name) for name in FLAT_FIELDS if name in rest}
        return cls(batch=batch, shape=shape, knobs=tuple(rest.items()), **known)  # type: ignore[arg-type]

    @property
    def key(self) -> str:
        """SHA-256 of the sorted JSON of the requested values."""
        return content_hash(self.canonical())

    @property
    def workload(self) -> dict[str, Value]:
        """The case without the fields that only choose an implementation."""
        kept = {name: v for name, v in self.canonical().items() if name in WORKLOAD_FIELDS}
        if str(kept.get("kv_cache_dtype", "")).startswith("fp8"):
            kept["kv_cache_dtype"] = "fp8"  # fp8 and fp8_ds_mla are one class
        return kept

    @property
    def workload_key(self) -> str:
        """The hash of the workload."""
        return content_hash(self.workload)


# Many rows of a table share few batches.
_read_batch = lru_cache(maxsize=4096)(parse_batch_spec)
# The fields of a case that hold one value, apart from the batch.
FLAT_FIELDS = tuple(f.name for f in fields(Case) if f.name not in ("batch", "shape", "knobs"))
_DEFAULTS = {
    f.name: f.default for f in fields(Case) if f.name in FLAT_FIELDS and f.default is not MISSING
}
_DEFAULT_VERSION = {"scope_version": 1}  # of cases stored without one
_DEFAULTS |= _DEFAULT_VERSION
_REQUIRED = ("family", "backend", "batch", "dtype")


def value_text(value: Value | None, unset: str) -> str:
    """A field's value as users write it, `unset` for None; booleans as in YAML and --where."""
    if value is None:
        return unset
    return str(value).lower() if isinstance(value, bool) else str(value)


def content_hash(facts: dict[str, Value]) -> str:
    """SHA-256 of the facts' sorted JSON, in hexadecimal."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
