"""Tables of a page: a terminal's columns with sort keys, as data for scripts/table.js."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from attnbench.analysis.series import Series
from attnbench.reporting.html.packed import Packable, packed, rounded
from attnbench.reporting.html.tips import tip
from attnbench.reporting.text_table import Column
from attnbench.results.diff import VERDICTS

_NUMBER = re.compile(r"[!+>]*(-?\d+(?:\.\d+)?)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
# Words in columns of numbers.
_WORDS = {"best": 1.0, "quickest": 1.0, "tie": 1.0, "same work": 1.0, "unclear": 1.0}
_KINDS = (*_WORDS, *VERDICTS)  # cells with a style of their own
_MOST = 8.0  # of a ratio on the scale of the bars

Orders = Mapping[str, Sequence[float | None]]


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a column."""

    text: str
    left: bool  # words are aligned left, numbers right
    tip: str = ""
    interval: bool = False  # whether cells begin with a bar


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows that belong together, as those of a workload; the first of each is the best."""

    names: Sequence[str]
    findings: Sequence[str]  # a sentence each
    of: Sequence[int]  # the group of each row


@dataclass(frozen=True, slots=True)
class HtmlTable:
    """A table with the columns of a terminal's table, of one or more rows."""

    key: str  # unique in the page
    caption: str
    heads: Sequence[Head]
    texts: Sequence[Sequence[str]]  # by column
    orders: Sequence[Sequence[float | None] | None]  # by column; None sorts by text
    groups: Groups | None = None
    facts: dict[str, Sequence[Packable]] = field(default_factory=dict)  # for conditions, by field
    intervals: Sequence[tuple[float, float] | None] = ()  # of each row's ratio to the best
    # The choice in the plot of samples, by row.
    samples: Sequence[int | None] = ()
    samples_plot: str = ""  # the key of that plot
    links: Sequence[str] = ()  # of each row's first cell
    sparks: Sequence[str] = ()  # a path in a box 100 wide and 20 high, by row

    @classmethod
    def of(
        cls, key: str, caption: str, columns: Sequence[Column], first: Orders | None = None
    ) -> "HtmlTable":
        """The table; `first` has the order of texts that are not numbers, by a column's header."""
        names = [" ".join(column.header.split()) for column in columns]
        heads = [Head(n, c.left, tip(n)) for n, c in zip(names, columns, strict=True)]
        orders = [_orders(column, (first or {}).get(column.header)) for column in columns]
        return cls(key, caption, heads, [list(column.texts) for column in columns], orders)

    def with_samples(self, choices: Sequence[int | None], plot: str) -> "HtmlTable":
        """The table with a button on each row with samples in the plot."""
        return replace(self, samples=choices, samples_plot=plot)

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(self.texts[0])

    def as_data(self) -> dict[str, Any]:
        """The table as the page's script reads it."""
        columns = zip(self.texts, self.orders, strict=True)
        return {
            "count": self.count,
            "heads": [{"text": h.text, "left": h.left, "interval": h.interval} for h in self.heads],
            "columns": [{"texts": packed(t), "orders": o and packed(o)} for t, o in columns],
            "kinds": _KINDS,
            "groups": self.groups and _groups_data(self.groups),
            "first": self.groups and _firsts(self.groups.of),
            "facts": {name: packed(values) for name, values in self.facts.items()},
            "intervals": _intervals_data(self.intervals),
            "samples": list(self.samples) or None,
            "samples_plot": self.samples_plot,
            "links": list(self.links) or None,
            "sparks": list(self.sparks) or None,
        }


def led_by(first: Sequence[str], columns: Sequence[Column]) -> list[Column]:
    """The columns, those with the headers `first` before the others: phones show the first ones."""
    return sorted(columns, key=lambda each: each.header not in first)


def batch_orders(listed: Sequence[Series]) -> Orders:
    """The order of batches by their tokens."""
    sizes = [(each.case.batch.num_tokens, each.case.batch.num_kv_tokens) for each in listed]
    ranks = {size: float(rank) for rank, size in enumerate(sorted(set(sizes)))}
    return {"spec": [ranks[size] for size in sizes]}


def _groups_data(groups: Groups) -> dict[str, Any]:
    return {"names": groups.names, "findings": groups.findings, "of": packed(groups.of)}


def _firsts(of: Sequence[int]) -> list[int]:
    """1 for each row that begins a group."""
    return [int(not at or of[at - 1] != group) for at, group in enumerate(of)]


def _intervals_data(intervals: Sequence[tuple[float, float] | None]) -> dict[str, Any]:
    highs = [each[1] for each in intervals if each]
    return {
        "low": [rounded(each[0]) if each else None for each in intervals],
        "high": [rounded(each[1]) if each else None for each in intervals],
        "most": min(_MOST, max([1.05, *highs])),
    }


def _orders(column: Column, given: Sequence[float | None] | None) -> Sequence[float | None] | None:
    if given is not None:
        return given
    if column.left or any(_DATE.match(text) for text in column.texts):
        return None
    return [_order(text) for text in column.texts]


def _order(text: str) -> float | None:
    found = _NUMBER.match(text)
    return float(found[1]) if found else _WORDS.get(text)
