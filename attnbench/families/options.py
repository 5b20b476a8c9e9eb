"""Options of all families' commands, and the requests they make."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

from attnbench.note import Note
from attnbench.options.kinds import Listed, Number, Text, Whole, one_of
from attnbench.options.option import flag, one, several, shared, table
from attnbench.specs.batch import Batch
from attnbench.specs.budget import Budget
from attnbench.specs.case import (
    FLAT_FIELDS,
    Dtype,
    KvData,
    KvDtype,
    Layout,
    PageOrder,
    Value,
)
from attnbench.specs.dtypes import ALIASES
from attnbench.specs.shape import Shape
from attnbench.specs.sweep import expand_sweeps, expand_values


@dataclass(frozen=True, slots=True)
class Asked:
    """A request; fields without values keep their defaults."""

    family: str
    shape: Shape
    backends: Sequence[str] = ()
    batches: Sequence[Batch] = ()
    fields: Mapping[str, Sequence[Value]] = field(default_factory=dict)  # others of the case
    variants: Sequence[Mapping[str, Value]] = ({},)  # fields whose values go together
    knobs: Mapping[str, Sequence[Value | None]] = field(default_factory=dict)  # None: not given
    # A server's knobs: backends that have them use these values unless others are asked for.
    served: Mapping[str, Value] = field(default_factory=dict)


OWN_LENGTHS = "batch"  # in place of a server's


def whole_numbers(texts: Sequence[str], _: Note) -> tuple[int, ...]:
    """All numbers of lists and sweeps such as 1..64k:x4, each once."""
    return tuple(dict.fromkeys(number for text in texts for number in expand_values(text)))


def model_lengths(texts: Sequence[str], _: Note) -> tuple[int | None, ...]:
    """Lengths of lists and sweeps such as 8k..128k:x4, each once; None for `batch`."""
    named = ([None] if text == OWN_LENGTHS else expand_values(text) for text in texts)
    return tuple(dict.fromkeys(length for lengths in named for length in lengths))


@dataclass(frozen=True, kw_only=True)
class Common:
    """Options that several families share, each at its place."""

    max_model_len: tuple[int | None, ...] = several(
        Listed(model_lengths, lambda length: OWN_LENGTHS if length is None else str(length)),
        "--max-model-len",
        metavar="N|batch...",
        heading="Selection",
        knob=True,
        help="Longest sequence that the server allows, for which vLLM captures decodes; "
        f"{OWN_LENGTHS}: bare kernels, over the batch's own lengths.  [default: the model's]",
    )
    unpadded: bool = flag(
        "--no-pad",
        heading="Selection",
        knob=True,
        help="Do not pad decodes to the batch sizes that vLLM captures.",
    )

    tp: int = one(
        Whole(),
        "--tp",
        default=1,
        metavar="N",
        heading="Shape",
        help="Tensor-parallel ranks; one is timed.",
    )
    pool_gib: tuple[float, ...] = several(
        Number(),
        "--pool-gib",
        metavar="N...",
        heading="Data",
        help="Minimum size in GiB of the pool of pages that all working sets share; a server's "
        "spans tens of GiB.  [default: little more than the sets need]",
    )
    block_size: tuple[int, ...] = several(
        Whole(),
        "--block-size",
        metavar="N...",
        heading="Data",
        help="Tokens per page.  [default: the backend's]",
    )
    layout: tuple[Layout, ...] = several(
        one_of(*get_args(Layout)),
        "--layout",
        metavar="NHD|HND...",
        heading="Data",
        help="Order of a page: tokens before heads, or heads before tokens.  "
        "[default: the backend's]",
    )


@dataclass(frozen=True, kw_only=True)
class FamilyOptions(ABC):
    """The options of a family's command that say what is measured.

    An option named like a field of a case sets that field; `shape` reads the shape's dims.
    """

    backend: tuple[str, ...] = several(
        Text(),
        "--backend",
        "--backends",
        metavar="NAME...",
        heading="Selection",
        help="Backends by name, or all that can run here.  [default: all]",
    )
    batch: tuple[Batch, ...] = several(
        Listed(expand_sweeps),
        "--batch-specs",
        "--batch-spec",
        metavar="SPEC...",
        heading="Selection",
        help="Batches such as 2q2k_32q1kv1k, or sweeps such as {1..64:x2}q1kv4k.  "
        "[default: depends on the device]",
    )

    @abstractmethod
    def shape(self) -> Shape:
        """The shape on one rank; UsageError for dims that do not fit together."""

    @classmethod
    def for_shape(cls, shape: Shape) -> dict[str, Value]:
        """The options that ask for exactly this shape, by field."""
        return asdict(shape)

    def batches(self, seed: int) -> Sequence[Batch]:
        """The batches asked for, random lengths drawn from `seed`; none for the defaults.

        Raises UsageError for options that exclude each other.
        """
        return self.batch

    def fields(self) -> dict[str, Sequence[Value]]:
        """The values asked for, by field of a case."""
        asked = {name: _values(getattr(self, name)) for name in table(type(self))}
        return {name: values for name, values in asked.items() if name in _FIELDS and values}

    def knobs(self) -> dict[str, Sequence[Value | None]]:
        """The values asked for, by knob; None leaves it to the backend."""
        named = (name for name, option in table(type(self)).items() if option.knob)
        return {name: _values(getattr(self, name)) for name in named}

    def usual(self) -> dict[str, Sequence[Value]]:
        """Production's values by field, where the case's default is another."""
        return {}

    def served(self) -> dict[str, Value]:
        """The knobs of the model's server, by name."""
        return {}

    def budget(self) -> Budget | None:
        """The time that all layers of a model may take, if given."""
        return None

    def more_csv(self) -> Sequence[Path]:
        """Further files with the columns of --output-csv."""
        return ()


_FIELDS = set(FLAT_FIELDS) - {"backend"}


def _values(given: Any) -> Sequence[Value]:
    """The values of an option with several values, of one with a single value, or of a flag."""
    if isinstance(given, tuple):
        return given
    return () if given is None or given is False else (given,)


@dataclass(frozen=True, kw_only=True)
class KvCacheOptions(FamilyOptions):
    """Options of the families in which the KV cache's format is chosen."""

    dtype: tuple[Dtype, ...] = several(
        one_of(*get_args(Dtype), aliases=ALIASES),
        "--dtype",
        metavar="bf16|fp16|fp32...",
        heading="Data",
        help="Data type of queries, new keys and values, and output.  "
        "[default: bf16 on a GPU, fp32 on a CPU]",
    )
    kv_cache_dtype: tuple[KvDtype, ...] = several(
        one_of(*get_args(KvDtype)),
        "--kv-cache-dtype",
        metavar="auto|fp8...",
        heading="Data",
        help="Data type of the KV cache; auto is --dtype.  [default: auto]",
    )
    block_size: tuple[int, ...] = shared(Common, "block_size")
    page_order: tuple[PageOrder, ...] = several(
        one_of(*get_args(PageOrder)),
        "--page-order",
        metavar="scattered|contiguous...",
        heading="Data",
        help="Where a request's pages are in the cache.  [default: scattered]",
    )
    kv_data: tuple[KvData, ...] = several(
        one_of(*get_args(KvData)),
        "--kv-data",
        metavar="random|normal|zeros...",
        heading="Data",
        help="Contents of the KV cache: random has needles for the check among normal values; GPUs "
        "are faster on zeros.  [default: random]",
    )
