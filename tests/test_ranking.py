"""Which implementation of a workload is the best, what ties with it, and what cannot be told."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attnbench.analysis.estimate import EXACT, Cell, Noise
from attnbench.analysis.ranking import AUTO, Ranking, rank
from attnbench.analysis.regret import regrets
from attnbench.analysis.series import Series, Times, series_of
from attnbench.analysis.tuning import Contender, Setting
from attnbench.labels import Label
from attnbench.records import CacheState, Status
from attnbench.reporting.ranking import counts, firsts, legend, place_text, regret_text
from attnbench.specs.case import Case
from tests.stored_results import Results, attn, failed, measured, mla, timed

QUIET = EXACT
STEADY = (1.0, 1.0005, 0.9995)
SUSTAINED = (Label.SUSTAINED,)
NOT_RUN = failed(Status.OOM, "out of memory")


def quiet(series: Series, cell: Cell) -> Noise:
    return QUIET


def ranked(folder: Path, results: Results) -> list[Ranking]:
    return rank(map(Contender.of, series_of(measured(folder, results))), quiet)


def places(folder: Path, results: Results) -> dict[str, str]:
    return {
        standing.contender.case.backend: standing.place
        for ranking in ranked(folder, results)
        for standing in ranking.standings
    }


def in_rounds(case: Case, *factors: float | None, cache_state: CacheState = "cold") -> Results:
    """Rounds of about a millisecond; None is one that failed."""
    return {
        case: [
            outcome
            for each in factors
            for outcome in (
                NOT_RUN if each is None else timed(case, 1e-3 * each, cache_state=cache_state)
            )
        ]
    }


def rounds(
    spec: str, backend: str, *factors: float | None, cache_state: CacheState = "cold"
) -> Results:
    return in_rounds(attn(spec, backend), *factors, cache_state=cache_state)


@pytest.mark.parametrize(
    ("factors", "place"),
    [
        ((1.002, 1.003, 1.001), "tie"),
        ((1.05, 1.051, 1.049), "slower"),
        ((1.1, 0.98, 1.3), "unclear"),  # nothing is shown of it
        ((1.008, 1.012, 1.010), "unclear"),  # at the margin
        ((5.4, 1.01, 11.0), "unclear"),  # five times as long, and no two rounds agree
    ],
)
def test_a_rival_is_slower_or_a_tie_only_where_that_is_shown(
    tmp_path: Path, factors: tuple[float, ...], place: str
) -> None:
    results = {**rounds("q1k", "sdpa", *STEADY), **rounds("q1k", "naive", *factors)}
    assert places(tmp_path, results) == {"sdpa": "best", "naive": place}


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_single_rounds_have_a_quickest_and_no_best(tmp_path: Path, factor: float) -> None:
    results = {**rounds("q1k", "sdpa", 1.0), **rounds("q1k", "naive", factor)}
    (ranking,) = ranked(tmp_path, results)
    assert [each.place for each in ranking.standings] == ["quickest", "untested"]
    assert ranking.outcome == "untested"
    assert [place_text(each) for each in ranking.standings] == ["quickest", f"{factor:.2f}x"]


@pytest.mark.parametrize(
    ("naive", "found"),
    [
        ((0.9,), {"naive": "quickest", "sdpa": "untested"}),
        ((1.1,), {"sdpa": "quickest", "naive": "untested"}),
        ((0.9, None), {"sdpa": "best", "naive": "unclear"}),
        ((None, 1.8), {"sdpa": "best", "naive": "unclear"}),
        ((None, 2.1), {"sdpa": "quickest", "naive": "untested"}),
    ],
)
def test_the_quickest_won_the_only_common_round(
    tmp_path: Path, naive: Sequence[float | None], found: dict[str, str]
) -> None:
    """One that has a second, slow round is not the quickest for having more.

    One that fails in a round is not the best by the other, nor is the best then the quickest.
    """
    results = {**rounds("q1k", "sdpa", 1.0, 2.0), **rounds("q1k", "naive", *naive)}
    listed = places(tmp_path, results)
    assert [*listed.items()] == [*found.items()]


def test_the_quickest_of_single_rounds_has_a_column_apart_from_the_best(tmp_path: Path) -> None:
    results = {**rounds("q1k", "sdpa", 1.0), **rounds("q1k", "naive", 1.5)}
    results |= {**rounds("q2k", "sdpa", *STEADY), **rounds("q2k", "naive", 1.5, 1.51, 1.49)}
    found = firsts(ranked(tmp_path, results), lambda each: each.case.backend)
    assert found == {"best": ["-", "sdpa"], "quickest": ["sdpa", "-"]}


def test_spread_borrowed_from_other_cells_lets_no_single_round_win(tmp_path: Path) -> None:
    many = [f"q{tokens}" for tokens in range(100, 115)]
    results = {k: v for spec in many for k, v in rounds(spec, "sdpa", *STEADY).items()}
    results |= {k: v for spec in many for k, v in rounds(spec, "naive", 1.5, 1.51, 1.5).items()}
    results |= {**rounds("q1k", "sdpa", 1.0), **rounds("q1k", "naive", 1.5)}
    ranking = ranked(tmp_path, results)[-1]
    assert ranking.standings[1].comparison is not None
    assert ranking.standings[1].comparison.verdict == "slower"  # by the others' spread
    assert [each.place for each in ranking.standings] == ["quickest", "untested"]


def test_a_single_round_among_replicated_ones_is_never_the_best(tmp_path: Path) -> None:
    results = {**rounds("q1k", "flash", 0.5)}
    results |= {**rounds("q1k", "sdpa", *STEADY), **rounds("q1k", "naive", 1.5, 1.51, 1.49)}
    assert places(tmp_path, results) == {"sdpa": "best", "flash": "unclear", "naive": "slower"}


def test_who_has_no_rival_is_alone(tmp_path: Path) -> None:
    results = {**rounds("q1k", "sdpa", *STEADY), **rounds("q2k", "naive", *STEADY)}
    assert set(places(tmp_path, results).values()) == {"alone"}


def test_what_met_another_state_of_the_cache_is_no_rival(tmp_path: Path) -> None:
    hot = rounds("q1k", "naive", *STEADY, cache_state="mixed")
    assert set(places(tmp_path, {**rounds("q1k", "sdpa", 2.0, 2.1, 2.0), **hot}).values()) == {
        "alone"
    }


def test_what_was_timed_under_load_is_no_rival_of_what_was_not(tmp_path: Path) -> None:
    burst, loaded = attn("q1k", "naive"), attn("q1k", "sdpa")
    results = {burst: timed(burst, 1.0, 1.0), loaded: timed(loaded, 1.1, 1.1, labels=SUSTAINED)}
    assert set(places(tmp_path, results).values()) == {"alone"}


def test_thresholds_that_split_a_batch_alike_are_the_same_work_whatever_they_took(
    tmp_path: Path,
) -> None:
    results = {
        **in_rounds(mla("8q4kv1k", "x", threshold=4), *STEADY),
        **in_rounds(mla("8q4kv1k", "x", threshold=8), 1.2, 1.21, 1.2),
        **in_rounds(mla("8q4kv1k", "y", threshold=8), 1.2, 1.21, 1.2),  # another backend
    }
    other_split = in_rounds(mla("8q4kv1k", "x", threshold=1), 1.3, 1.31, 1.3)
    results |= {
        case: [replace(each, decode_requests=8, prefill_requests=0) for each in outcomes]
        for case, outcomes in other_split.items()
    }
    (ranking,) = ranked(tmp_path, results)
    places = ["best", "same work", "slower", "slower"]
    assert [each.place for each in ranking.standings] == places
    assert ranking.outcome == "won"


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_rounds_are_paired_by_their_number_where_some_failed(tmp_path: Path, lost: int) -> None:
    """The device gets 5 % slower with each round, and a rival is 3 % slower in every one."""
    drift: list[float | None] = [1.0, 1.05, 1.1, 1.15]
    best, rival = list(drift), [1.03 * each for each in drift if each]
    best[lost] = None
    mine, others = rounds("q1k", "sdpa", *best), rounds("q1k", "naive", *rival[:3], None)
    (ranking,) = ranked(tmp_path, {**mine, **others})
    (_, found) = ranking.standings
    assert ranking.best.case.backend == "sdpa"
    assert found.comparison is not None
    assert found.comparison.ratio == pytest.approx(1.03, rel=1e-3)
    assert found.place == "slower"
    assert found.is_partial
    assert any("over the rounds in which both have a time" in line for line in legend([ranking]))


def test_the_best_is_the_faster_one_in_the_rounds_that_both_have(tmp_path: Path) -> None:
    """By their means the first would be, as it has only the early rounds of a slowing device."""
    early = rounds("q1k", "sdpa", 1.05, 1.16, 1.26, None, None)
    late = rounds("q1k", "naive", None, 1.1, 1.2, 1.3, 1.4)
    assert places(tmp_path, {**early, **late}) == {"naive": "best", "sdpa": "slower"}


def test_the_interval_of_a_rival_holds_its_ratio(tmp_path: Path) -> None:
    results = {**rounds("q1k", "sdpa", *STEADY), **rounds("q1k", "naive", 1.5, 1.52, 1.48)}
    (ranking,) = ranked(tmp_path, results)
    (_, rival) = ranking.standings
    assert rival.comparison is not None
    assert rival.comparison.low is not None
    assert rival.comparison.high is not None
    assert rival.comparison.low < 1.5 < rival.comparison.high
    assert rival.reach == pytest.approx(rival.comparison.high / rival.comparison.ratio - 1)


def test_equal_backends_are_seldom_called_slower_than_the_best_of_them(tmp_path: Path) -> None:
    """Seven of 54 workloads, 0.5 % of spread in three rounds: under 1 % of 324 rivals, ever."""
    random = np.random.default_rng(1)
    backends = [f"backend-{number}" for number in range(7)]
    results: Results = {
        (case := attn(f"q{tokens}", backend)): timed(case, *np.exp(random.normal(-7, 0.005, 3)))
        for tokens in range(100, 154)
        for backend in backends
    }
    found = [each.place for ranking in ranked(tmp_path, results) for each in ranking.standings]
    assert found.count("best") == 54
    assert found.count("slower") <= 3


def test_workloads_are_counted_by_what_is_shown_of_them(tmp_path: Path) -> None:
    rivals: Sequence[tuple[str, tuple[float, ...]]] = [
        ("q1k", (1.5, 1.51, 1.49)),
        ("q2k", (1.002, 1.001, 1.003)),
        ("q4k", (1.3, 0.99, 1.2)),
        ("q8k", (1.4,)),
    ]
    results = {
        case: outcomes
        for spec, factors in rivals
        for backend, own in (("sdpa", STEADY[: len(factors)]), ("naive", factors))
        for case, outcomes in rounds(spec, backend, *own).items()
    }
    found = ranked(tmp_path, results)
    assert [each.outcome for each in found] == ["won", "tied", "unclear", "untested"]
    assert counts(found, lambda each: each.case.backend) == [
        "best of 3 workloads: sdpa in 1, tied in 1, unclear in 1; naive tied in 1, unclear in 1",
        "quickest in single rounds of 1 workload: sdpa in 1",
    ]
    assert [line.partition(":")[0] for line in legend(found)] == ["tie", "unclear", "quickest"]


def settings(**times: Sequence[float]) -> dict[Setting, Times]:
    """Rounds by the value of a knob; auto is what the backend chose."""
    return {
        AUTO if name == "auto" else (("k", name),): {(1, at): t for at, t in enumerate(each)}
        for name, each in times.items()
    }


def test_regret_is_not_made_of_the_luck_of_the_best_of_many() -> None:
    """Six settings that are all equal, 3 % of spread: the least of their means is 2 % too good."""
    at, logs = random.Random(1), []
    for _ in range(200):
        draw = [[math.exp(at.gauss(0, 0.03)) for _ in range(3)] for _ in range(6)]
        group = settings(auto=draw[0], **{f"k{n}": each for n, each in enumerate(draw[1:])})
        (found,) = regrets([group], lambda at, cell: QUIET)
        assert found is not None
        logs.append(math.log(found.ratio))
    assert abs(sum(logs) / len(logs)) < 0.005


@pytest.mark.parametrize(
    ("group", "text"),
    [
        (settings(auto=(1.1, 1.1001, 1.1), a=(1.0, 1.0, 1.0)), r"+10.0 % [+9.8, +10.2]"),
        (settings(auto=(1.0, 1.0, 1.0), a=(1.1, 1.1, 1.1)), "none"),
        # Each round's choice loses in that round, and a loss of the best is not auto's.
        (settings(auto=(1.0, 1.02, 1.01), a=(0.99, 1.05, 1.0)), "none (-"),
        (settings(auto=(1.0, 1.2, 1.1), a=(0.9, 1.1, 1.13)), "unclear (+"),
    ],
)
def test_regret_is_a_loss_or_none(group: dict[Setting, Times], text: str) -> None:
    (found,) = regrets([group], lambda at, cell: QUIET)
    assert found is not None
    assert regret_text(found).startswith(text)


def test_workloads_without_a_loss_do_not_hide_the_others() -> None:
    """Their differences of 0 are no sample of noise, and two rounds of one workload tell little."""
    at = random.Random(1)

    def group(loss: float) -> dict[Setting, Times]:
        factors = {"auto": 1 + loss, "a": 1.0, "b": 1.2}
        return settings(
            **{n: [f * math.exp(at.gauss(0, 0.004)) for _ in range(2)] for n, f in factors.items()}
        )

    groups = [group(loss) for loss in (-0.1, -0.2, 0.1, -0.1, 0.2, -0.05)]
    found = regrets(groups, lambda at, cell: QUIET)
    assert [each.verdict for each in found if each] == [
        *("same", "same", "slower", "same", "slower", "same")
    ]
    assert [regret_text(each) for each in found if each and each.verdict == "same"] == ["none"] * 4


def test_single_rounds_and_sweeps_without_auto_have_no_regret() -> None:
    single, none = settings(auto=(1.1,), a=(1.0,)), settings(a=(1.0, 1.0), b=(1.1, 1.1))
    assert regrets([single, none], lambda at, cell: QUIET) == [None, None]
