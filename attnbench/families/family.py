"""A family of attention work: what every part of attnbench must know of it, in one record."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from attnbench.specs.case import Case, Layout, Value
from attnbench.specs.cost import Cost
from attnbench.specs.shape import Shape

# A value that others are compared with, or several of which the first that was measured is.
Baseline = Value | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Together:
    """Fields of a case that are set together, by the name of a choice."""

    name: str  # of the option, and of the column in tables
    choices: Mapping[str, Mapping[str, Value]]  # by name, the fields that it sets
    name_of: Callable[[Case], str]  # of a case's choice

    @property
    def fields(self) -> frozenset[str]:
        """All fields that some choice sets."""
        return frozenset(name for choice in self.choices.values() for name in choice)

    def named(self, case: Case, fields: Mapping[str, Value]) -> dict[str, Value]:
        """`fields` with the name of the choice in place of what it sets."""
        kept = {name: value for name, value in fields.items() if name not in self.fields}
        return kept | {self.name: self.name_of(case)}


@dataclass(frozen=True, slots=True)
class Family:
    """One family. A new one is a record like this, and a folder of kernels."""

    name: str
    shape: Shape  # unless another is asked for
    cost: Callable[[Case, int], Cost]  # of a case and its number of decode requests
    # Batch specs by kind of device: under a minute, all kinds of requests.
    batches: Mapping[str, str]
    # The same for a sweep over a knob: batches where it matters.
    knob_batches: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # A few batches that stand for all, where measuring all would take too long.
    some_batches: str | None = None
    layouts: tuple[Layout, ...] = ()  # measured unless others are asked for
    # Fields whose values are compared below a table, each with its baseline.
    contrasted: Mapping[str, Baseline] = field(default_factory=dict)
    # A batch is its number of new tokens: it is named so, and time is fitted over it.
    counts_tokens: bool = False
    # At scope kernel decode and prefill requests take paths that do unequal work.
    two_paths: bool = False
    unused_dims: frozenset[str] = frozenset()  # of the shape, which a table need not show
    together: Together | None = None

    def named(self, case: Case, fields: Mapping[str, Value]) -> dict[str, Value]:
        """`fields` of `case`, those that are set together under their one name."""
        return dict(fields) if self.together is None else self.together.named(case, fields)
