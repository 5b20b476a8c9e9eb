"""The part of a page about a study: its question, answer, doubts, maps and tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from attnbench.reporting.html.figures import Plot
from attnbench.reporting.html.heat import HeatMap
from attnbench.reporting.html.table import HtmlTable


@dataclass(frozen=True, slots=True)
class StudyPart:
    """A study's conclusion, from the same data as the terminal's."""

    key: str  # unique in the page
    run: int
    name: str
    question: str
    where: Sequence[str]
    answer: Sequence[str]
    doubts: Sequence[str]
    cells: Sequence[str]
    maps: Sequence[HeatMap]
    plots: Sequence[Plot]
    tables: Sequence[HtmlTable]
