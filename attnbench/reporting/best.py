"""The best implementation of each workload, ties as ties, and how often each was the best."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from attnbench.analysis.fields import requested
from attnbench.analysis.standing import Standing
from attnbench.records import Measurement, Run
from attnbench.reporting.columns import field_columns
from attnbench.reporting.headings import cohort_heading
from attnbench.reporting.tables import spec_column
from attnbench.reporting.text_table import WIDTH, Column, Style, grid, items, words
from attnbench.results.cohort import Cohort, cohorts
from attnbench.results.noise import NoiseLookup, assumed_noise
from attnbench.specs.case import WORKLOAD_FIELDS, Case
from attnbench.units import MISSING, seconds_column, three_digits

_WIDEST = 10.0  # an interval's upper end over the ratio, that is shown


def best_tables(
    measurements: Iterable[Measurement],
    runs: Mapping[int, Run],
    style: Style = "table",
    width: int = WIDTH,
    *,
    noise: NoiseLookup = assumed_noise,
) -> str:
    """A table for each family, method and machine model with a row for each workload.

    Tied are those of which no difference from the best beyond 1 % is shown; the next is the
    fastest of the others, with the 95 % interval of its time over the best's.
    """
    listed = cohorts(measurements, runs, noise=noise)
    return "\n\n".join(_section_text(each, style, width) for each in listed)


def _section_text(cohort: Cohort, style: Style, width: int) -> str:
    groups = _by_workload(cohort)
    compared = [listed for listed in groups if len(listed) > 1]
    blocks = [cohort_heading(cohort, style, width)]
    if compared:
        blocks.append(grid(_columns(cohort, compared), style, width))
    lines = [*_counts(cohort, compared)]
    if alone := len(groups) - len(compared):
        lines.append(f"{alone} workload{'s' * (alone > 1)} with nothing to compare with")
    blocks.append(items(lines, style, width))
    return "\n\n".join(filter(None, blocks))


def _by_workload(cohort: Cohort) -> list[list[Standing]]:
    """The rows of each workload, the best first, then by time."""
    groups: dict[int, list[Standing]] = defaultdict(list)
    for each in cohort.standings:
        if each is not None:
            groups[id(each.best)].append(each)
    return [sorted(listed, key=_ratio) for listed in groups.values()]


def _ratio(standing: Standing) -> float:
    return standing.comparison.ratio if standing.comparison else 1.0


def _columns(cohort: Cohort, groups: Sequence[Sequence[Standing]]) -> list[Column]:
    firsts = [listed[0].series for listed in groups]
    unit, times = seconds_column([each.time for each in firsts])
    ties = [[each for each in listed if each.place == "tie"] for listed in groups]
    nexts = [
        next((each for each in listed if each.place in ("slower", "unknown")), None)
        for listed in groups
    ]
    columns = [
        spec_column(firsts),
        *field_columns(cohort.fields, firsts, WORKLOAD_FIELDS),
        words("best", [_name(cohort, each.case) for each in firsts]),
        Column(f"latency\n{unit}", times),
    ]
    if any(ties):
        named = [", ".join(_name(cohort, each.series.case) for each in tied) for tied in ties]
        columns.append(words("tied with it", [text or MISSING for text in named]))
    if any(nexts):
        columns += [
            words("next", [_name(cohort, e.series.case) if e else MISSING for e in nexts]),
            Column("vs\nbest", [f"{three_digits(_ratio(e))}x" if e else MISSING for e in nexts]),
            Column("95 %\ninterval", [_interval(e) for e in nexts]),
        ]
    return columns


def _interval(standing: Standing | None) -> str:
    found = standing and standing.comparison
    if not found or found.low is None or found.high is None:
        return MISSING
    if found.high > _WIDEST * found.ratio:  # of rounds that tell nothing of each other
        return MISSING
    return f"{three_digits(found.low)} to {three_digits(found.high)}"


def _counts(cohort: Cohort, groups: Sequence[Sequence[Standing]]) -> list[str]:
    """How often each implementation was the best, alone or tied with others."""
    sole: Counter[str] = Counter()
    tied: Counter[str] = Counter()
    for listed in groups:
        top = [e for e in listed if e.place in ("best", "tie")]
        for each in top:
            (tied if len(top) > 1 else sole)[_name(cohort, each.series.case)] += 1
    names = sorted({*sole, *tied}, key=lambda name: (-sole[name], -tied[name], name))
    texts = [f"{n} {sole[n]}" + (f" and {tied[n]} tied" if tied[n] else "") for n in names]
    if not groups:
        return []
    plural = "s" * (len(groups) > 1)
    return [f"best of {len(groups)} workload{plural}: {', '.join(texts)}"]


def _name(cohort: Cohort, case: Case) -> str:
    """The backend with what else was asked of it that tells rows apart."""
    asked = requested(case)
    choices = [
        f"{name} {asked[name]}"
        for name in cohort.fields.varying
        if name in asked and name not in WORKLOAD_FIELDS and name != "backend"
    ]
    return " ".join([case.backend, *choices])
