"""A diff of two sets of runs: verdicts on cases of both sides, and cases without a partner."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from attnbench.analysis.across import Across, field_of, find_across
from attnbench.analysis.estimate import Cell, Noise
from attnbench.analysis.fields import Fields
from attnbench.analysis.pairing import Matching, Pair, Pairing, pair_up
from attnbench.analysis.series import series_of
from attnbench.analysis.verdict import Comparison
from attnbench.db.store import Store
from attnbench.errors import NotComparable, UsageError
from attnbench.results.cohort import NO_SENTINELS, Cohort, SentinelFacts
from attnbench.results.differences import differences
from attnbench.results.judging import JudgedPairs, judge_pairs
from attnbench.results.margin import usual_margin
from attnbench.results.next_step import NextStep, find_next_step
from attnbench.results.possible import possible_pairs
from attnbench.results.restless import doubt, doubted
from attnbench.results.selection import Selection, newest, select
from attnbench.results.sentinels import read_sentinels
from attnbench.results.unpaired import only_in
from attnbench.shorten import some
from attnbench.specs.case import Case

NOW_FAILS, NOW_RUNS, FAILS = "now fails", "now runs", "ran on neither side"

# The order of a table, the most urgent first.
VERDICTS = ("slower", NOW_FAILS, "unclear", "faster", NOW_RUNS, "same", FAILS)
LISTED = 20  # cases listed in a line
# The verdicts that end a diff with exit status 1, by --fail-on.
FAILING: Mapping[str, tuple[str, ...]] = {
    "slower": ("slower", NOW_FAILS),
    "slower-time": ("slower", NOW_FAILS),  # and what is slower by the clock alone
    "unclear": ("slower", NOW_FAILS, "unclear"),
    "never": (),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A case on both sides; the optional fields are set unless a side fails."""

    verdict: str  # one of VERDICTS
    pair: Pair
    comparison: Comparison | None = None
    cell: Cell | None = None  # the compared rounds
    noise: Noise | None = None  # used for the verdict
    kernel: Comparison | None = None  # in cycles, where clocks moved: it gives the verdict

    @property
    def decisive(self) -> Comparison | None:
        """The comparison that gives the verdict."""
        return self.kernel or self.comparison

    @property
    def slower_by_clock(self) -> bool:
        """Whether the time is slower, and the kernel is not."""
        if self.kernel is None or self.comparison is None:
            return False
        return self.comparison.verdict == "slower" != self.kernel.verdict


@dataclass(frozen=True, slots=True)
class Diff:
    """The result of comparing two sets of runs."""

    base: Selection
    head: Selection
    margin: float  # relative; smaller changes do not matter
    rows: Sequence[Row]  # losers first
    pairing: Pairing
    basis: JudgedPairs  # what the verdicts rest on
    across: Across | None = None  # the field that was to differ
    sentinels: SentinelFacts = field(default_factory=lambda: NO_SENTINELS)  # of the newest runs
    next_step: NextStep | None = None  # what should settle unclear verdicts

    @property
    def counts(self) -> dict[str, int]:
        """Rows by verdict, in the order of VERDICTS."""
        counted = Counter(row.verdict for row in self.rows)
        return {verdict: counted[verdict] for verdict in VERDICTS if counted[verdict]}

    @property
    def comparisons(self) -> list[Comparison]:
        """The comparisons of cases with a time on both sides: those that a mean may cover."""
        return [row.comparison for row in self.rows if row.comparison]

    @property
    def judged(self) -> list[tuple[Cell, Noise]]:
        """The cells of the same cases, with the noise used for their verdicts."""
        return [(row.cell, row.noise) for row in self.rows if row.cell and row.noise]

    @property
    def describe(self) -> Callable[[Case], str]:
        """A function that names a case distinctly among all of both sides."""
        return Fields.of([*_cases(self.base), *_cases(self.head)]).describe

    @property
    def leftovers(self) -> list[str]:
        """A line per reason why cases were not compared, with the cases."""
        cases: dict[str, list[Case]] = defaultdict(list)
        for pair, difference in self.pairing.mismatches:
            cases[f"not comparable, {difference}"].append(pair.base.case)
        describe = self.describe
        lines = [
            f"{reason}: {some(map(describe, listed), len(listed), LISTED)}"
            for reason, listed in cases.items()
        ]
        for side, lonely, other in (
            ("base", self.pairing.only_base, _asked(self.head, self.across, "head")),
            ("head", self.pairing.only_head, _asked(self.base, self.across, "base")),
        ):
            but = self.across.field if self.across else None
            own = [series.case for series in lonely]
            lines += only_in(side, own, other, describe, but) if own else []
        return lines

    @property
    def differences(self) -> list[str]:
        """The differences between the newest runs of both sides, except times."""
        return differences(newest(self.base), newest(self.head))

    def exit_status(self, fail_on: str) -> int:
        """1 if any verdict is in FAILING[fail_on], else 0; slower-time also counts the clock's."""
        by_clock = fail_on == "slower-time" and any(row.slower_by_clock for row in self.rows)
        return int(by_clock or any(row.verdict in FAILING[fail_on] for row in self.rows))


def diff(
    store: Store,
    base_ref: str,
    head_ref: str,
    *,
    margin: float | None = None,
    pool: bool = False,
    across: str | None = None,
) -> Diff:
    """Compare the runs of two refs, by the newest run of each case or all of them if pooled.

    Without a margin it is 1 %, or 5 % of separate runs on a CPU.
    across, "FIELD" or "FIELD=BASE:HEAD", pairs cases that differ in exactly that field instead of
    equal ones; the refs may then share runs. Raises UsageError for two refs that share a run
    otherwise, and NotComparable if no case has a result on both sides.
    """
    base = select(store, base_ref, pool, option="--base")
    head = select(store, head_ref, pool, option="--head")
    sides = series_of(base.measurements), series_of(head.measurements)
    chosen = find_across(across, *sides) if across else None
    if chosen is None:
        _require_two_sides(base, head)
    pairing = possible_pairs(store, pair_up(*sides, matching=Matching(chosen)))
    runs = {newest(side).number for side in (base, head)}
    sentinels = read_sentinels(store, runs) if len(runs) > 1 else NO_SENTINELS
    whole = [pair for pair in pairing.pairs if not _failure(pair)]
    margin = usual_margin(store, newest(base), newest(head)) if margin is None else margin
    judged = judge_pairs(store, whole, margin, (base, head), alike=chosen is None)
    if why := doubt(sentinels, map(newest, (base, head))):
        judged = doubted(judged, why)
    rows = _rows(pairing.pairs, judged)
    step = find_next_step(store, _unclear(rows), newest(base), newest(head), alike=chosen is None)
    found = Diff(base, head, margin, rows, pairing, judged, chosen, sentinels, step)
    if not set(found.counts) - {FAILS}:
        raise NotComparable(_nothing_pairs(found))
    return found


def _unclear(rows: Sequence[Row]) -> list[tuple[Pair, Cell, Comparison]]:
    return [
        (row.pair, row.cell, row.decisive)
        for row in rows
        if row.cell and row.decisive and row.verdict == "unclear"
    ]


def _cases(side: Selection) -> list[Case]:
    return list({each.case_key: each.case for each in side.measurements}.values())


def _asked(side: Selection, across: Across | None, name: Literal["base", "head"]) -> list[Case]:
    """The cases of a side that were to be compared."""
    if across is None:
        return _cases(side)
    value, listed = across.base if name == "base" else across.head, series_of(side.measurements)
    return [each.case for each in listed if field_of(each, across.field) == value]


def _require_two_sides(base: Selection, head: Selection) -> None:
    if shared := base.runs.keys() & head.runs.keys():
        runs = ", ".join(map(str, sorted(shared)))
        raise UsageError(
            f"--base {base.ref} and --head {head.ref} both name run {runs}, and a run compared "
            "with itself shows nothing; name two different sides, e.g. --base 1 --head 2 "
            "(`attnbench runs` lists them), or a field that differs between its cases, e.g. "
            "--across backend"
        )


def _rows(pairs: Sequence[Pair], judged: JudgedPairs) -> list[Row]:
    """The judged pairs and those with a failure, losers first."""
    rows = [
        _row(pair, cell, found, judged)
        for pair, cell, found in zip(
            judged.pairs, judged.cells, judged.compared.comparisons, strict=True
        )
    ]
    rows += [Row(failure, pair) for pair in pairs if (failure := _failure(pair))]
    return sorted(rows, key=_place)


def _row(pair: Pair, cell: Cell, found: Comparison, judged: JudgedPairs) -> Row:
    kernel = judged.kernels.get(cell.key)
    return Row((kernel or found).verdict, pair, found, cell, judged.noises[cell.key], kernel)


def _failure(pair: Pair) -> str | None:
    """A failure verdict; None for times to compare. Where rounds of both failed, times decide."""
    base, head = bool(pair.base.failures), bool(pair.head.failures)
    if base and head:
        base, head = not pair.base.timed, not pair.head.timed
    verdicts = {(True, True): FAILS, (True, False): NOW_RUNS, (False, True): NOW_FAILS}
    return verdicts.get((base, head))


def _place(row: Row) -> tuple[int, float]:
    ratio = row.comparison.ratio if row.comparison else 1.0
    return VERDICTS.index(row.verdict), -ratio


def _nothing_pairs(found: Diff) -> str:
    failed = Cohort([row.pair.head for row in found.rows], {})
    if found.rows:
        why = "no case has a time on either side"
    else:
        why = "no case has the same method, machine model, cache state and regime on both sides"
    lines = [f"nothing to compare: {why}", *failed.failures(), *found.leftovers]
    advice = "measure both sides with the same options, e.g. attnbench attn --label NAME"
    return "\n  ".join([*lines, advice])
