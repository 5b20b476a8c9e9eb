"""Conclusions below the tables of a family: the effect of each choice, and the fixed cost."""

from collections.abc import Iterable, Mapping, Sequence

from attnbench.analysis.contrast import Contrast, contrasts, facts
from attnbench.analysis.fields import Fields
from attnbench.analysis.fixed_cost import FixedCost, fixed_cost
from attnbench.analysis.series import Series
from attnbench.analysis.verdict import MARGIN
from attnbench.families import family_of
from attnbench.families.family import Baseline
from attnbench.reporting.columns import field_columns
from attnbench.reporting.text_table import Column, Style, items, text_table
from attnbench.results.cohort import Cohort
from attnbench.specs.case import Value
from attnbench.units import (
    change_in_percent,
    counted,
    percent,
    percent_column,
    seconds_column,
    three_digits,
)

_MOST_MISSED = 0.1  # of a time, by a line that is worth showing


def conclusions(listed: Sequence[Cohort], style: Style, width: int) -> list[str]:
    """Blocks of text: the fixed cost of each implementation, then a line per contrast."""
    right = [series for cohort in listed for series in cohort.right]
    families = {cohort.series[0].case.family: family_of(cohort.series[0].case) for cohort in listed}
    blocks = []
    for name, family in families.items():
        of_family = [each for each in right if each.case.family == name]
        if family.counts_tokens:
            blocks += _fixed_costs(of_family, style, width)
        blocks.append(items(_lines(of_family, family.contrasted), style, width))
    return [block for block in blocks if block]


def _lines(listed: Sequence[Series], fields: Mapping[str, Baseline]) -> list[str]:
    """Backends against each other, and every other choice within each backend."""
    lines = list[str]()
    backends = dict.fromkeys(series.case.backend for series in listed)
    for field, choice in fields.items():
        named = choice if isinstance(choice, tuple) else (choice,)
        preferred = next((name for name in named if field != "backend" or name in backends), None)
        if field == "backend":
            lines += _contrasts(listed, field, preferred)
            continue
        for backend in backends:
            own = [each for each in listed if each.case.backend == backend]
            lines += [f"{backend}: {text}" for text in _contrasts(own, field, preferred)]
    return lines


def _contrasts(listed: Sequence[Series], field: str, preferred: Value | None) -> list[str]:
    return [
        contrast_text(_named(field, base), _named(field, head), contrast)
        for (base, head), contrast in contrasts(listed, field, preferred).items()
    ]


def contrast_text(base: str, head: str, contrast: Contrast) -> str:
    """E.g. "HND takes 1.12x the time of NHD (95 % interval 1.10 to 1.14; ...)"."""
    ratio = f"{contrast.ratio:.3f}x"
    finding = {
        "same": f"{head} and {base} take the same time in the mean, {ratio}",
        "unclear": _unclear(base, head, contrast),
    }.get(contrast.verdict, f"{head} takes {ratio} the time of {base}")
    return f"{finding} ({_certainty(contrast)})"


def _unclear(base: str, head: str, contrast: Contrast) -> str:
    """Whether they differ is open, or only whether by more than the margin."""
    low, high = contrast.low, contrast.high
    if low is None or high is None or low <= 1 <= high:
        return f"{head} against {base} is unclear, at {contrast.ratio:.3f}x"
    by = f"{change_in_percent(low)} to {change_in_percent(high)} %"
    margin = percent(MARGIN)
    return f"{head} differs from {base} by {by}, which may or may not exceed the margin of {margin}"


def _named(field: str, value: Value) -> str:
    """A word by itself; a number with the field's name."""
    return f"{field.replace('_', ' ')} {value}" if isinstance(value, int | float) else str(value)


def _certainty(contrast: Contrast) -> str:
    cases = counted(contrast.num_cases, "case")
    if contrast.low is None or contrast.high is None:
        return f"no interval: single rounds of {cases}"
    interval = f"95 % interval {contrast.low:.3f} to {contrast.high:.3f}; {cases}"
    if contrast.num_cases == 1:
        return interval
    return f"{interval}, {three_digits(contrast.least)}x to {three_digits(contrast.most)}x"


def _fixed_costs(listed: Sequence[Series], style: Style, width: int) -> list[str]:
    """A table with a row per sweep that a line fits, and the number of others; none without."""
    sweeps: dict[frozenset[tuple[str, Value]], list[Series]] = {}
    for series in listed:
        by_name = facts(series)
        # Too few working sets for a cold cache at small sizes do not make another sweep.
        for name in ("batch", "cache state"):
            by_name.pop(name)
        sweeps.setdefault(frozenset(by_name.items()), []).append(series)
    fitted = [(sweep[0], fit) for sweep in sweeps.values() if (fit := _fitted(sweep)) is not None]
    straight = [(first, fit) for first, fit in fitted if fit.worst <= _MOST_MISSED]
    blocks = [_fit_table(straight, style, width)] if straight else []
    if bent := len(fitted) - len(straight):
        line = (
            f"no linear fit for {bent} of {len(fitted)} sweeps: some size is over "
            f"{percent(_MOST_MISSED)} off the line"
        )
        blocks.append(items([line], style, width))
    return blocks


def _fit_table(found: Sequence[tuple[Series, FixedCost]], style: Style, width: int) -> str:
    firsts, fits = [first for first, _ in found], [fit for _, fit in found]
    columns = [*field_columns(Fields.of([each.case for each in firsts]), firsts), *_timers(firsts)]
    table = text_table([*columns, *_fit_columns(fits)], style, width)
    return f"time = fixed + tokens x slope, with half the 95 % interval of each\n\n{table}"


def _fitted(sweep: Sequence[Series]) -> FixedCost | None:
    known = [(each.case.batch.num_tokens, each.time) for each in sweep]
    pairs = [(size, time) for size, time in known if time is not None]
    return fixed_cost([size for size, _ in pairs], [time for _, time in pairs])


def _timers(listed: Sequence[Series]) -> list[Column]:
    timers = [str(each.first.method["timer"]) for each in listed]
    return [Column("timer", timers, left=True)] if len(set(timers)) > 1 else []


def _fit_columns(fits: Iterable[FixedCost]) -> list[Column]:
    listed = list(fits)
    fixed_unit, fixed = _with_reach([(each.fixed, each.fixed_reach) for each in listed])
    slope_unit, slope = _with_reach([(each.slope, each.slope_reach) for each in listed])
    percent, worst = percent_column([each.worst for each in listed])
    return [
        Column(f"fixed\n{fixed_unit}", fixed[0]),
        Column(f"+-\n{fixed_unit}", fixed[1]),
        Column(f"a token\n{slope_unit}", slope[0]),
        Column(f"+-\n{slope_unit}", slope[1]),
        Column(f"misses by\nup to {percent}", worst),
    ]


def _with_reach(pairs: Sequence[tuple[float, float]]) -> tuple[str, tuple[list[str], list[str]]]:
    """Values and their reaches in one unit."""
    values, reaches = zip(*pairs, strict=True)
    unit, texts = seconds_column([*values, *values, *reaches])
    return unit, (texts[: len(values)], texts[2 * len(values) :])
