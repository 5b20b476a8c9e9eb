"""The rows of a report by workload: the best first, and what is found about it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from attnbench.analysis.auto import choices
from attnbench.analysis.fields import Fields, requested
from attnbench.analysis.ranking import Ranking, Standing
from attnbench.analysis.series import Series
from attnbench.families import family_of
from attnbench.reporting.auto import loss_in_short
from attnbench.reporting.html.sweeps import implementation, workload_text
from attnbench.results.cohort import Cohort
from attnbench.specs.batch import Kind
from attnbench.units import three_digits


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload with its ranking; without one, its rows have impossible times."""

    name: str
    kind: str  # decode, prefill, extend, mixed or cache write
    rows: Sequence[Series]  # the best first
    standings: Sequence[Standing | None]
    ranking: Ranking | None
    finding: str
    auto: str = ""  # what vLLM's own choice loses, if that is shown


def workloads_of(cohort: Cohort) -> list[Workload]:
    """All rows of a cohort by workload, in the order of the rankings."""
    autos = map(loss_in_short, choices(cohort.rankings, cohort.series, cohort.noise_of))
    found = [
        replace(_workload(each, cohort.fields), auto=auto)
        for each, auto in zip(cohort.rankings, autos, strict=True)
    ]
    named = _told_apart(found)
    wrong = [each for each, is_wrong in zip(cohort.timed, cohort.wrong, strict=True) if is_wrong]
    return [*named, *(_impossible(each, cohort.fields) for each in wrong)]


def kind_of(series: Series) -> str:
    """The kind of a batch, by its requests."""
    if family_of(series.case).counts_tokens:
        return "cache write"
    kinds = {request.kind() for request in series.case.batch}
    if kinds <= {Kind.EXTEND, Kind.SPECDECODE}:
        return "extend"
    return str(next(iter(kinds))) if len(kinds) == 1 else "mixed"


def finding(ranking: Ranking, fields: Fields) -> str:
    """Who is the best of a workload, in a few words."""
    name = implementation(ranking.best.case, fields)
    if ranking.outcome in ("tied", "unclear"):
        among = [implementation(c.case, fields) for c in ranking.at("best", "tie", "unclear")]
        is_tie = ranking.outcome == "tied"
        return f"tie: {' = '.join(among)}" if is_tie else f"unclear: {' or '.join(among)}"
    if ranking.outcome == "alone":
        return f"only {name}"
    behind = ranking.next
    lead = f", next {three_digits(_ratio(behind))}x" if behind else ""
    return f"quickest: {name}{lead}" if ranking.outcome == "untested" else f"{name}{lead}"


def _ratio(standing: Standing) -> float:
    return standing.comparison.ratio if standing.comparison else 1.0


def _workload(ranking: Ranking, fields: Fields) -> Workload:
    rows = [each.contender.series for each in ranking.standings]
    best = ranking.best.series
    return Workload(
        workload_text(best, fields),
        kind_of(best),
        rows,
        ranking.standings,
        ranking,
        finding(ranking, fields),
    )


def _impossible(series: Series, fields: Fields) -> Workload:
    name = f"{workload_text(series, fields)}, impossible"
    return Workload(name, kind_of(series), [series], [None], None, "faster than the hardware can")


def _told_apart(found: Sequence[Workload]) -> list[Workload]:
    """Workloads of one name, told apart by quantization, path, cache state and load."""
    groups: dict[str, list[Workload]] = defaultdict(list)
    for each in found:
        groups[each.name].append(each)
    return [_renamed(each, groups[each.name]) for each in found]


def _renamed(workload: Workload, namesakes: Sequence[Workload]) -> Workload:
    """With the facts in which it differs from those of the same name."""
    listed = [_facts(each.rows[0]) for each in namesakes]
    own = _facts(workload.rows[0])
    beside = [fact for at, fact in enumerate(own) if len({each[at] for each in listed}) > 1]
    return replace(workload, name=f"{workload.name} ({', '.join(beside)})") if beside else workload


def _facts(series: Series) -> tuple[str, ...]:
    quant = f"quant {requested(series.case).get('quant')}"
    return quant, f"{series.split} on the decode path", str(series.cache_state), str(series.regime)
