"""Sortable tables of a page: a terminal's columns with sort keys."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from attnbench.analysis.series import Series
from attnbench.reporting.text_table import Column
from attnbench.results.diff import VERDICTS

_NUMBER = re.compile(r"[!+]*(-?\d+(?:\.\d+)?)")
# Words in columns of numbers.
_WORDS = {"best": 1.0, "quickest": 1.0, "tie": 1.0, "same work": 1.0, "unclear": 1.0}
_KINDS = frozenset((*_WORDS, *VERDICTS))


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a column."""

    text: str
    left: bool  # words are aligned left, numbers right


@dataclass(frozen=True, slots=True)
class HtmlCell:
    """A text with its number for sorting; None if it is not a number."""

    text: str
    order: float | None

    @property
    def kind(self) -> str:
        """The kind for the style sheet; empty for most."""
        return self.text.replace(" ", "-") if self.text in _KINDS else ""


@dataclass(frozen=True, slots=True)
class HtmlTable:
    """A table with the columns of a terminal's table."""

    caption: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[HtmlCell]]
    # The choice in the plot of samples, by row.
    samples: Sequence[int | None] = ()
    samples_plot: str = ""  # the key of that plot

    @classmethod
    def of(
        cls, caption: str, columns: Sequence[Column], first: "Orders | None" = None
    ) -> "HtmlTable":
        """The table; `first` has the order of texts that are not numbers, by a column's header."""
        heads = [Head(" ".join(column.header.split()), column.left) for column in columns]
        entries = [_entries(column, (first or {}).get(column.header)) for column in columns]
        return cls(caption, heads, list(zip(*entries, strict=True)))

    def with_samples(self, choices: Sequence[int | None], plot: str) -> "HtmlTable":
        """The table with a button on each row with samples in the plot."""
        return replace(self, samples=choices, samples_plot=plot)


Orders = dict[str, Sequence[float]]


def batch_orders(listed: Sequence[Series]) -> Orders:
    """The order of batches by their tokens."""
    sizes = [(each.case.batch.num_tokens, each.case.batch.num_kv_tokens) for each in listed]
    ranks = {size: float(rank) for rank, size in enumerate(sorted(set(sizes)))}
    return {"spec": [ranks[size] for size in sizes]}


def _entries(column: Column, orders: Sequence[float] | None) -> list[HtmlCell]:
    if orders is not None:
        return [HtmlCell(text, order) for text, order in zip(column.texts, orders, strict=True)]
    return [HtmlCell(text, None if column.left else _order(text)) for text in column.texts]


def _order(text: str) -> float | None:
    found = _NUMBER.match(text)
    return float(found[1]) if found else _WORDS.get(text)
