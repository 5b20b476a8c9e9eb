"""A family of attention work: one record with everything attnbench must know about it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from attnbench.errors import UsageError
from attnbench.families.options import Asked, FamilyOptions
from attnbench.options.option import table, words
from attnbench.specs.case import Case, Value
from attnbench.specs.cost import Cost

# The value others are compared with, or candidates, of which the first one measured is.
Baseline = Value | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Together:
    """Fields of a case that are set together by a named choice."""

    name: str  # of the option, and of the column in tables
    choices: Mapping[str, Mapping[str, Value]]  # by name, the fields it sets
    name_of: Callable[[Case], str]  # the name of a case's choice

    @property
    def fields(self) -> frozenset[str]:
        """All fields that some choice sets."""
        return frozenset(name for choice in self.choices.values() for name in choice)

    def asking(self, case: Case, asked: Mapping[str, object]) -> dict[str, object]:
        """Options that ask for the case's choice; a mere dtype of the device needs none."""
        if (name := self.name_of(case)) not in self.choices:
            return {name: value for name, value in asked.items() if name != "dtype"}
        return {n: v for n, v in asked.items() if n not in self.fields} | {self.name: name}

    def named(self, case: Case, fields: Mapping[str, Value]) -> dict[str, Value]:
        """`fields` with the name of the choice in place of the fields it sets."""
        kept = {name: value for name, value in fields.items() if name not in self.fields}
        return kept | {self.name: self.name_of(case)}


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One family. A new one needs a record like this and a folder of kernels."""

    name: str
    help: str  # of its command; the first line is the summary
    options: type[FamilyOptions]
    cost: Callable[[Case, int], Cost]  # of a case and its number of decode requests
    # Batch specs by kind of device: under a minute, all kinds of requests.
    batches: Mapping[str, str]
    # The same for a sweep over a knob: batches where it matters.
    knob_batches: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # A few representative batches, for when all would take too long.
    some_batches: str | None = None
    # Fields whose values are compared below a table, each with its baseline.
    contrasted: Mapping[str, Baseline] = field(default_factory=dict)
    # A batch is named for its number of new tokens, and time is fitted over it.
    counts_tokens: bool = False
    # At scope kernel, decode and prefill requests take paths with different work.
    two_paths: bool = False
    unused_dims: frozenset[str] = frozenset()  # dims of the shape that tables omit
    together: Together | None = None
    csv_columns: Literal["rounds", "trtllm"] = "rounds"  # of --output-csv

    def named(self, case: Case, fields: Mapping[str, Value]) -> dict[str, Value]:
        """`fields` of `case`, with one name for those that are set together."""
        return dict(fields) if self.together is None else self.together.named(case, fields)

    @property
    def summary(self) -> str:
        """The first line of its command's help."""
        return self.help.splitlines()[0]

    def asked(self, options: FamilyOptions, seed: int = 0) -> Asked:
        """The request that these options make; random lengths are drawn from `seed`."""
        named: Sequence[str] = getattr(options, self.together.name) if self.together else ()
        variants = [self.together.choices[name] for name in named] if self.together else []
        return Asked(
            family=self.name,
            shape=options.shape(),
            backends=options.backend,
            batches=options.batches(seed),
            fields=options.fields(),
            variants=variants or [{}],
            knobs=options.knobs(),
            served=options.served(),
        )

    def words(self, case: Case) -> list[str]:
        """The words of its command that ask for `case`; UsageError if no options can."""
        asked = self._asking(case)
        if foreign := sorted(asked.keys() - table(self.options).keys()):
            raise UsageError(
                f"no option of `attnbench {self.name}` sets {', '.join(foreign)} as in this case"
            )
        return words(self.options, asked)

    def _asking(self, case: Case) -> dict[str, object]:
        """By option, the values that ask for exactly `case`."""
        dims = asdict(case.shape)
        left = {"family", "scope_version", *dims}
        rest: dict[str, object] = {n: v for n, v in case.canonical().items() if n not in left}
        first = {"backend": case.backend, "batch": case.batch, "dtype": case.dtype}
        asked = {**first, **self.options.for_shape(case.shape), **rest, **first}
        if case.scope_version is not None:  # an earlier one, which no option can ask for
            asked["scope_version"] = case.scope_version
        if self.two_paths:
            asked["scope"] = case.scope  # its default depends on the backends
        if "inputs" in table(self.options):
            asked["inputs"] = case.inputs  # the command's default is not the case's
        return asked if self.together is None else self.together.asking(case, asked)
