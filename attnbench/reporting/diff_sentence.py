"""The verdict of a diff in a sentence."""

from attnbench.analysis.compare import geometric_mean_ratio
from attnbench.results.diff import NOW_FAILS, Diff, Row
from attnbench.units import MISSING, change_in_percent, counted


def diff_sentence(diff: Diff) -> str:
    """How many cases got worse, which one most, and the mean."""
    slower = [row for row in diff.rows if row.verdict == "slower" and row.comparison]
    count, failing = len(diff.rows), sum(row.verdict == NOW_FAILS for row in diff.rows)
    parts = [f"{len(slower) or 'None'} of {counted(count, 'case')} slower"]
    if slower and (worst := max(slower, key=_ratio)).comparison:
        parts.append(f"most of all {diff.describe(worst.pair.head.case)} by {change_text(worst)} %")
    parts += [f"{failing} now failing"] if failing else []
    parts += [f"{diff.counts['unclear']} unclear"] if "unclear" in diff.counts else []
    if found := diff.comparisons:
        parts.append(f"{change_in_percent(geometric_mean_ratio(found))} % in the geometric mean")
    return f"{', '.join(parts)}."


def change_text(row: Row) -> str:
    """The change of a row, percent."""
    return change_in_percent(row.comparison.ratio) if row.comparison else MISSING


def _ratio(row: Row) -> float:
    return row.comparison.ratio if row.comparison else 0.0
