"""Results from rows of other tools' files, in our terms."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from attnbench.families import cost
from attnbench.printable import printable
from attnbench.records import Outcome, Status
from attnbench.shorten import shorten
from attnbench.specs.case import Case, Value
from attnbench.specs.scanner import MAX_SIZE
from attnbench.specs.shape import MlaShape
from attnbench.timing.method import ForeignTimer, Method

Row = Mapping[str, object]
SHORTEST, LONGEST = 1e-12, 1e6  # seconds that a call can take


BEYOND = "beyond the header"  # the key of cells that no column has


class NotMapped(Exception):
    """A row has no counterpart here; the message says why."""


@dataclass(frozen=True, slots=True)
class ForeignResult:
    """A row with a counterpart."""

    case: Case
    method: Method
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class ForeignFile:
    """All rows of a file."""

    tool: str
    results: Sequence[ForeignResult]
    dropped: Mapping[str, Sequence[int]]  # rows, counted from 1, by reason
    digest: str = ""  # SHA-256 of its bytes

    @property
    def num_rows(self) -> int:
        """Rows in the file without its header."""
        return len(self.results) + sum(map(len, self.dropped.values()))


def foreign_method(*words: str) -> Method:
    """The method of another tool: it keeps foreign times apart from ours and other tools'."""
    return Method(ForeignTimer(" ".join(["foreign", *words])), cache="unknown")


def foreign_knobs(row: Row, known: Collection[str]) -> dict[str, Value]:
    """All that a row says outside the `known` columns, so rows that differ in it are unlike cases.

    Named "foreign.COLUMN"; empty cells say nothing.
    """
    return {
        f"foreign.{name}": text(row, name)
        for name in row
        if name and name not in known and text(row, name)
    }


def timed_outcome(case: Case, seconds: float) -> Outcome:
    """One time, without samples.

    FLOP and bytes are known except for MLA that is not all decode, whose path is unknown.
    """
    decodes = sum(request.is_decode for request in case.batch)
    known = not isinstance(case.shape, MlaShape) or decodes == len(case.batch)
    work = cost(case, decodes)
    return Outcome(
        Status.OK,
        samples=(seconds,),
        cache_state="unknown",
        flops=work.flops if known else 0.0,
        bytes=work.bytes if known else 0.0,
    )


def text(row: Row, name: str) -> str:
    """A cell as text, empty if missing; what no database stores is escaped."""
    value = row.get(name)
    return "" if value is None else printable(str(value).strip())


def required(row: Row, column: str) -> str:
    """A cell as text; NotMapped if it is empty."""
    if found := text(row, column):
        return found
    raise NotMapped(f"{column} is empty")


def whole(row: Row, name: str) -> int:
    """A cell as a whole number from 1 to MAX_SIZE; NotMapped for any other."""
    try:
        found = float(text(row, name))
    except ValueError:
        found = 0.0
    if not (1 <= found <= MAX_SIZE and found.is_integer()):
        shown = shorten(text(row, name), 40)
        raise NotMapped(f"{name} is '{shown}', not a whole number from 1 to {MAX_SIZE}")
    return int(found)


def seconds_of(row: Row, name: str, unit: float) -> float:
    """A cell as a time in seconds; NotMapped for any other."""
    try:
        found = float(text(row, name)) * unit
    except ValueError:
        found = 0.0
    if not SHORTEST <= found <= LONGEST:
        raise NotMapped(f"{name} is '{shorten(text(row, name), 40)}', not a time")
    return found
