"""What a row of another tool's file says, in our words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attnbench.families import cost
from attnbench.records import Outcome, Status
from attnbench.specs.case import Case
from attnbench.specs.shape import MlaShape
from attnbench.timing.method import ForeignTimer, Method

Row = Mapping[str, object]


class NotMapped(Exception):
    """The sentence why a row has no counterpart here."""


@dataclass(frozen=True, slots=True)
class ForeignResult:
    """A row that has one."""

    case: Case
    method: Method
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class ForeignFile:
    """All rows of a file."""

    tool: str
    results: Sequence[ForeignResult]
    dropped: Mapping[str, Sequence[int]]  # rows, counted from 1, by the sentence why

    @property
    def num_rows(self) -> int:
        """Rows in the file, the header apart."""
        return len(self.results) + sum(map(len, self.dropped.values()))


def foreign_method(*words: str) -> Method:
    """By it no foreign time is ever compared with one of ours, or of another tool."""
    return Method(ForeignTimer(" ".join(["foreign", *words])), cache="unknown")


def timed_outcome(case: Case, seconds: float) -> Outcome:
    """One time, of which the file does not tell the samples.

    Its FLOP and bytes are known unless it is MLA that is not all decode, whose path is not told.
    """
    decodes = sum(request.is_decode for request in case.batch)
    told = not isinstance(case.shape, MlaShape) or decodes == len(case.batch)
    work = cost(case, decodes)
    return Outcome(
        Status.OK,
        samples=(seconds,),
        cache_state="unknown",
        flops=work.flops if told else 0.0,
        bytes=work.bytes if told else 0.0,
    )


def text(row: Row, name: str) -> str:
    """A cell as text, empty where there is none."""
    value = row.get(name)
    return "" if value is None else str(value).strip()


def whole(row: Row, name: str) -> int:
    """A cell as a whole number; NotMapped for any other."""
    try:
        return int(float(text(row, name)))
    except (ValueError, OverflowError):
        raise NotMapped(f"{name} is '{text(row, name)}', no whole number") from None


def seconds_of(row: Row, name: str, unit: float) -> float:
    """A cell as a time in seconds; NotMapped for one that is none."""
    try:
        found = float(text(row, name)) * unit
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise NotMapped(f"{name} is '{text(row, name)}', no time")
    return found
