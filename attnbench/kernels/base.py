"""The contract of a backend: refuse a case in one sentence, or prepare it for timing."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from attnbench.kernels.tolerance import Tolerance
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case, KvDtype, Layout, Scope, Value

if TYPE_CHECKING:
    import torch

DeviceKind = Literal["cpu", "cuda"]
Path = Literal["all", "decode", "prefill"]
Feature = Literal["window", "softcap", "sinks", "index_topk"]
CRITICAL = 8  # rows whose reference stands for the inputs
# They change the result of attention, so a backend without one must refuse it.
FEATURES: tuple[Feature, ...] = get_args(Feature)
_OPTIONS = {"unpadded": "no-pad", "threshold": "thresholds"}  # that are not spelled as their knob


@dataclass(frozen=True, slots=True)
class Setting:
    """The device, working sets and seed to prepare a case with."""

    device: str  # "cpu" or "cuda:N"
    sets: int  # number of working sets
    seed: int  # seeds this round's inputs
    graphs: bool = True  # timed from a CUDA graph; vLLM's builders choose by it, as in production


class Refused(Exception):
    """Raised while preparing a case that cannot run here; the message says why."""


class Prepared(ABC):
    """A case ready to launch: N working sets, each with its own inputs and output.

    `calls[i]` launches set i; its result is ignored. Only these calls are timed.
    """

    calls: Sequence[Callable[[], object]]
    touched_bytes: int  # read and written by one call, padding included
    resolved: Mapping[str, Value]  # choices by name; stored, so a row says what ran
    tolerance: Tolerance
    critical_rows: Sequence[int]  # of the output; every check compares them
    plan: Callable[[], object] | None = None  # production's work before a call, timed separately
    renewable: ClassVar[bool] = False  # whether `renew` works; if not, the rows are labelled

    @abstractmethod
    def poison(self, index: int) -> None:
        """Fill the output of set `index` with values that no correct result contains."""

    def poison_sets(self, chosen: Sequence[int]) -> None:
        """Poison the outputs of several sets."""
        for index in chosen:
            self.poison(index)

    def poison_some(self, sets: int) -> None:
        """Poison every other of the first `sets` outputs, after `renew`.

        The rest keep the results of other inputs, which a call that computes only where it finds
        poison would leave.
        """
        self.poison_sets(range(1, sets, 2))

    @abstractmethod
    def output(self, index: int) -> "torch.Tensor":
        """The output of set `index`, [rows, width]; NaN where nothing was written."""

    @abstractmethod
    def expected(self, sets: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
        """The fp32 reference of n rows, each of its own set: [n, width], from the same data.

        `sets` and `rows` are int64 [n] on the CPU. Quantised data are used as stored. A class whose
        `spread` gives blocks of several rows takes blocks [n, m] too: [n * m, width].
        """

    def renew(self, seed: int) -> None:
        """Draw new inputs for every set into the memory that its call reads.

        The next launch of each set, by a graph captured before, must give the new results. Backends
        of PyTorch change caches and page tables too. Queries are not turned to needles: results
        kept from before differ from those of any other query, and turning them would double the
        cost of the check.
        """
        raise NotImplementedError

    def digest(self) -> "torch.Tensor":
        """A tensor that changes if calls change what they must leave as it is, their inputs.

        By default the reference of some rows of set 0.
        """
        import torch

        rows = torch.tensor([*self.critical_rows][:CRITICAL])
        return self.expected(torch.zeros_like(rows), rows)

    def negate_values(self) -> bool:
        """Change the sign of all values in place, and so of all results; False if it cannot."""
        return False

    def whole(self, index: int) -> "tuple[torch.Tensor, torch.Tensor] | None":
        """All rows of a set, int64 [n], with their reference [n, width]; None if that takes long.

        Well under a second is short enough; a row may be there twice.
        """
        return None

    def spread(self, count: int, seed: int) -> "torch.Tensor":
        """At least `count` blocks of rows, int64 [n, m] on the CPU, others for another seed.

        The m rows of a block are neighbours that share keys, which `expected` takes together. Where
        an output has requests and heads, blocks are of all requests in turn, and of all heads that
        have keys of their own.
        """
        import torch

        generator = torch.Generator().manual_seed(seed)
        return torch.randint(len(self.output(0)), (count, 1), generator=generator)

    def place(self, row: int) -> str:
        """Names a row of the output."""
        return f"row {row}"

    def damage(self, index: int) -> str | None:
        """A sentence on memory that calls changed but must not have, None if there is none."""
        return None


class Backend(ABC):
    """One implementation within a family; to add one, add a file to the family's folder."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    module: ClassVar[str] = "torch"  # the package it drives
    devices: ClassVar[tuple[DeviceKind, ...]] = ("cpu", "cuda")
    knobs: ClassVar[frozenset[str]] = frozenset()
    features: ClassVar[frozenset[Feature]] = frozenset()  # those it supports
    needs: ClassVar[Mapping[str, Value]] = {}  # required fields and their usual values
    layouts: ClassVar[tuple[Layout, ...]] = ()  # accepted by --layout
    paged: ClassVar[bool] = True  # whether it uses pages, so --block-size applies
    kv_cache_dtypes: ClassVar[tuple[KvDtype, ...]] = ("auto",)
    scopes: ClassVar[tuple[Scope, ...]] = ("kernel",)
    path: ClassVar[Path] = "all"  # of MLA; at scope kernel decode and prefill do unequal work

    def refusal(self, case: Case, machine: Machine) -> str | None:
        """Why `case` cannot run on `machine`, in one sentence; None if it can."""
        return self._machine_refusal(machine) or self._case_refusal(case)

    @abstractmethod
    def prepare(self, case: Case, setting: Setting) -> Prepared:
        """Allocate, fill, plan and compile; none of this is part of the timed calls."""

    def memory(self, case: Case, sets: int, machine: Machine) -> Mapping[str, float] | None:
        """Bytes of the tensors that so many prepared sets hold, by what they hold.

        None from a backend that cannot say: then its contexts, queries and outputs are counted.
        """
        return None

    def stands_for(self, case: Case) -> Case | None:
        """Another backend's case that this one would run in its name; known once it was asked."""
        return None

    def num_decode(self, case: Case) -> int:
        """The number of requests on the decode path; they come first in execution order."""
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
            names = [_OPTIONS.get(name, name.replace("_", "-")) for name in foreign]
            options = ", ".join(f"--{name}" for name in names)
            return f"does not take {options}"
        if case.inputs != "cold" and case.family != "cache-write":
            return "has inputs of its own for each working set, so --inputs does not apply"
        return self._paging_refusal(case) or self._format_refusal(case)

    def _paging_refusal(self, case: Case) -> str | None:
        if self.paged:
            return None
        if case.block_size is not None:
            return "has no pages, so --block-size does not apply"
        if case.page_order != "scattered":
            return "has no pages, so --page-order does not apply"
        if case.pool_gib is not None:
            return "has no pages, so --pool-gib does not apply"
        return None

    def _format_refusal(self, case: Case) -> str | None:
        if case.scope_version is not None:
            return (
                f"is of version {case.scope_version} of scope {case.scope}, which did less; this "
                "release measures today's alone"
            )
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
