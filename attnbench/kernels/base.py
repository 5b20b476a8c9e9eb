"""The contract of a backend: refuse in a sentence, or prepare what will be timed."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from attnbench.kernels.tolerance import Tolerance
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case, Value

if TYPE_CHECKING:
    import torch

DeviceKind = Literal["cpu", "cuda"]
Dtype = Literal["bf16", "fp16", "fp32"]
KvDtype = Literal["auto", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_ds_mla"]
Layout = Literal["NHD", "HND"]
Scope = Literal["kernel", "layer"]
Path = Literal["all", "decode", "prefill"]
Feature = Literal["window", "softcap", "sinks", "index_topk"]
# They change the result of attention, so a backend without one must refuse it.
FEATURES: tuple[Feature, ...] = get_args(Feature)


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and on what to prepare a case."""

    device: str  # "cpu" or "cuda:N"
    sets: int  # working sets wanted
    seed: int  # of this round's inputs
    graphs: bool = True  # timed from a CUDA graph: vLLM's builders choose by it, as in production


class Refused(Exception):
    """Raised while preparing: the case cannot run here, with the sentence why."""


class Prepared(ABC):
    """A case ready to launch: N working sets, each with its own inputs and output.

    `calls[i]` launches set i and returns nothing of use; only that is timed.
    """

    calls: Sequence[Callable[[], object]]
    touched_bytes: int  # that one call reads and writes, padding included
    resolved: Mapping[str, Value]  # what runs, by name: so that a row says what ran
    tolerance: Tolerance
    critical_rows: Sequence[int]  # of the output, that a check must not miss
    plan: Callable[[], object] | None = None  # what production does before a call, timed apart

    @abstractmethod
    def poison(self, index: int) -> None:
        """Fill the output of set `index` with what no right result holds."""

    @abstractmethod
    def output(self, index: int) -> "torch.Tensor":
        """The output of set `index`, [rows, width]; NaN where nothing was written."""

    @abstractmethod
    def expected(self, sets: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
        """The fp32 reference of n rows, each of its own set: [n, width], from the same data.

        Both int64 [n], on the CPU; data that were quantised are taken as they were stored.
        """

    def damage(self, index: int) -> str | None:
        """A sentence on what calls wrote where they must not, None if nothing."""
        return None


class Backend(ABC):
    """One implementation within a family. A new one is a new file in the family's folder."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    module: ClassVar[str] = "torch"  # the package that it drives
    devices: ClassVar[tuple[DeviceKind, ...]] = ("cpu", "cuda")
    knobs: ClassVar[frozenset[str]] = frozenset()
    features: ClassVar[frozenset[Feature]] = frozenset()  # which of FEATURES it honours
    needs: ClassVar[Mapping[str, Value]] = {}  # fields it must be given, and what is usual
    layouts: ClassVar[tuple[Layout, ...]] = ()  # what --layout may ask for
    paged: ClassVar[bool] = True  # reads or writes pages, so --block-size means something
    kv_cache_dtypes: ClassVar[tuple[KvDtype, ...]] = ("auto",)
    scopes: ClassVar[tuple[Scope, ...]] = ("kernel",)
    path: ClassVar[Path] = "all"  # MLA: decode or prefill; at scope kernel they do unequal work

    def refusal(self, case: Case, machine: Machine) -> str | None:
        """A sentence why `case` cannot run on `machine`, None if it can."""
        return self._machine_refusal(machine) or self._case_refusal(case)

    @abstractmethod
    def prepare(self, case: Case, setting: Setting) -> Prepared:
        """Allocate, fill, plan and compile; nothing of this is timed with the calls."""

    def num_decode(self, case: Case) -> int:
        """How many requests, the first in execution order, take the decode path."""
        return sum(request.is_decode for request in case.batch)

    def _machine_refusal(self, machine: Machine) -> str | None:
        if machine.kind not in self.devices:
            needed = "an NVIDIA GPU" if self.devices == ("cuda",) else " or ".join(self.devices)
            return f"needs {needed}; this device is {machine.label}"
        if importlib.util.find_spec(self.module) is None:
            return f"needs {self.module}, which is not installed: pip install 'attnbench[gpu]'"
        return None

    def _case_refusal(self, case: Case) -> str | None:
        asked = {name for name in FEATURES if getattr(case, name)}
        foreign = sorted((asked - self.features) | (dict(case.knobs).keys() - self.knobs))
        if foreign:
            options = ", ".join("--" + name.replace("_", "-") for name in foreign)
            return f"does not take {options}"
        return self._paging_refusal(case) or self._format_refusal(case)

    def _paging_refusal(self, case: Case) -> str | None:
        if self.paged:
            return None
        if case.block_size is not None:
            return "has no pages, so --block-size means nothing to it"
        if case.page_order != "scattered":
            return "has no pages, so --page-order means nothing to it"
        return None

    def _format_refusal(self, case: Case) -> str | None:
        if case.layout is not None and case.layout not in self.layouts:
            return f"does not take --layout {case.layout}" + _accepted(self.layouts)
        if case.kv_cache_dtype not in self.kv_cache_dtypes:
            known = _accepted(self.kv_cache_dtypes)
            return f"does not take --kv-cache-dtype {case.kv_cache_dtype}{known}"
        if case.scope not in self.scopes:
            return f"has no scope {case.scope}" + _accepted(self.scopes)
        return None


def _accepted(values: tuple[str, ...]) -> str:
    return f" (it takes {', '.join(values)})" if values else ""
