"""Stored results of the check: their page says what they hold."""

import json
import lzma
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest

RUNS = range(5, 14)  # of the checks' cost: 0.1.0's are 5, 8 and 11
YARDSTICK = "do_bench_cudagraph: outside GPU work"
MANY_SETS = (1, 3, 5, 61, 63)  # cases of one request
DOCS = Path(__file__).parent.parent / "docs"
RESULTS = DOCS / "results"
PAGES = [DOCS / "lab" / name for name in ("checks.md", "timing.md", "measurements.md")]
PAGE = re.sub(r"\s+", " ", "".join(page.read_text() for page in PAGES))


def stored(name: str) -> dict[str, Any]:
    path = RESULTS / name
    written = path.read_bytes()
    facts: dict[str, Any] = json.loads(
        lzma.decompress(written) if path.suffix == ".xz" else written
    )
    return facts


def test_every_check_that_an_honest_kernel_failed_is_explained() -> None:
    checks = stored("false_alarms_h200.json.xz")["checks"]
    seeds = Counter(check["seed"] for check in checks)
    wrong = [check for check in checks if check["fault"]]
    unwritten = [check for check in wrong if "rows hold NaN" in check["fault"]]
    others = Counter(check["backend"] for check in wrong if check not in unwritten)
    assert f"{seeds[0]} cases were checked with the first seed, {seeds[1]} of them" in PAGE
    assert f"{len(checks)} checks in all" in PAGE
    assert f"{len(checks) - len(wrong)} checks pass. Of the other {len(wrong)}, " in PAGE
    assert f"{len(unwritten)} are FlashAttention 3's" in PAGE
    assert others == {"mla flashinfer-ragged-fa2": 2, "attn flashinfer": 3, "attn triton": 1}


def test_what_was_mended_passes_when_it_is_checked_again() -> None:
    checks = stored("false_alarms_again.json.xz")["checks"]
    assert not [check for check in checks if check["fault"]]
    assert f"All {len(checks)} checks pass" in PAGE


def test_borders_of_splits_are_those_of_the_page() -> None:
    facts = stored("splits_h200.json.xz")
    checks, trials = facts["checks"], facts["trials"]
    wrong = [check["backend"] for check in checks if check["fault"]]
    assert wrong == ["mla flashinfer-ragged-fa2"]
    assert f"In {len(checks)} more checks of backends that split keys the only fault" in PAGE
    right = max(check["share"] for check in checks if not check["fault"])
    assert f"largest error is {right:.2f} of its tolerance" in PAGE
    large = [t for t in trials if t["change"] is None or t["change"] >= 1]
    found, of_large = (sum(t["finding"] is not None for t in each) for each in (trials, large))
    cases = {t["case"] for t in trials}
    assert f"{len(trials)} mutants of {len(cases)} cases" in PAGE
    share = f"{of_large / len(large):.1%}".replace("%", " %")
    assert f"{found} were found. {len(large)} change rows by more than rounding, of which" in PAGE
    assert f"of which {of_large} were found, {share}" in PAGE
    passed = Counter(t["fault"] for t in large if not t["finding"])
    assert passed == {"one head of a request zero in the last set": len(large) - of_large}


def test_unwritten_rows_are_decodes_with_a_window_that_no_request_is_longer_than() -> None:
    checks = stored("false_alarms_h200.json.xz")["checks"]
    for check in checks:
        if check["fault"] and "rows hold NaN" in check["fault"]:
            window = int(re.findall(r"window (\d+)", check["case"])[0])
            lengths = [int(n) for n in re.findall(r"kv(\d+)", check["case"].split()[2])]
            assert max(lengths) <= window
            assert check["backend"] in ("attn flash", "attn flash_attn_diffkv")


def test_rows_are_wrong_where_the_schedule_is_shorter_than_the_graphs_and_nowhere_else() -> None:
    calls = stored("flash_schedule.json")["calls"]
    wrong = [call["wrong"] > 0 for call in calls]
    assert wrong == [call["numbers"] < call["of the graph's"] for call in calls]
    assert f"In all {sum(wrong)} calls whose schedule has fewer numbers" in PAGE
    assert f"In the {len(calls) - sum(wrong)} others none is" in PAGE


@pytest.mark.parametrize("name", ["mutants_cpu.json", "mutants_h200.json.xz"])
def test_hardly_a_fault_that_exceeds_rounding_passes(name: str) -> None:
    trials = stored(name)["trials"]
    large = [t for t in trials if t["change"] is None or t["change"] >= 1]
    found = [t for t in trials if t["finding"]]
    of_large = sum(t["finding"] is not None for t in large)
    faults, cases = ({t[name] for t in trials} for name in ("fault", "case"))
    assert f"{len(faults)} faults made {len(trials)} mutants of {len(cases)} cases" in PAGE
    assert f"{len(found)} were found in one round" in PAGE
    share = f"{of_large} were found, {of_large / len(large):.1%}".replace("%", " %")
    assert re.search(
        f"{len(large)} of the {len(trials)} change rows by more [a-z ]+: {share}", PAGE
    )
    assert of_large / len(large) > 0.998
    if "h200" in name:
        summary = f"of {len(trials)} planted faults on an H200 {len(found) / len(trials):.1%}"
        assert summary.replace("%", " %") in PAGE
    assert max(t["change"] for t in large if not t["finding"]) < 1.6


def test_faults_planted_later_are_those_of_the_page() -> None:
    trials = stored("mutants_later.json.xz")["trials"]
    faults, cases = ({t[name] for t in trials} for name in ("fault", "case"))
    assert f"{len(faults)} faults made {len(trials)} mutants of {len(cases)} cases" in PAGE
    found = [t["fault"] for t in trials if t["finding"]]
    assert f"{len(found)} were found in one round, {len(found) / len(trials):.1%}"[:-1] in PAGE
    large = [t for t in trials if t["change"] is None or t["change"] >= 1]
    (passed,) = (t for t in large if not t["finding"])
    assert f"the {len(large)} that change rows by more than rounding one passed" in PAGE
    assert f"rounds scores too: {passed['change']:.2f} times rounding" in PAGE
    planted = Counter(t["fault"] for t in trials)
    for fault in {t["fault"] for t in trials if not t["finding"]} - {passed["fault"]}:
        assert f"| {fault} | {found.count(fault)} of {planted[fault]} |" in PAGE


def test_checks_with_a_third_seed_find_the_faults_of_the_first_seeds_alone() -> None:
    checks = stored("false_alarms_later.json.xz")["checks"]
    wrong = {check["case"] for check in checks if check["fault"]}
    known = {
        check["case"] for check in stored("false_alarms_h200.json.xz")["checks"] if check["fault"]
    }
    assert wrong < known
    assert f"{len(checks)} cases were checked with a third seed" in PAGE
    assert f"{len(checks) - len(wrong)} pass. The other five are" in PAGE
    right = [
        c["share"] for c in checks if not c["fault"] and not c["backend"].startswith("cache-write")
    ]
    assert f"The largest error of an attention row is {max(right):.2f} of its tolerance" in PAGE


def test_needles_change_no_time_by_more_than_the_page_says() -> None:
    cases = stored("needles.json")["cases"]
    assert len(cases) == 20
    assert max(abs(case["time"] - 1) for case in cases) < 0.002
    assert max(abs(case["cycles"] - 1) for case in cases) < 0.0024


def test_the_costs_of_all_checks_are_those_of_the_page() -> None:
    costs = {n: of_each(n, "ours: checks") for n in RUNS}
    sums = {n: sum(cost) for n, cost in costs.items()}
    medians = {n: median(cost) for n, cost in costs.items()}
    low, high = (f"{medians[n] / medians[11]:.2f}" for n in (13, 12))
    assert f"Checks cost {low} to {high} times as much as 0.1.0's in the median case" in PAGE
    low, high = (f"{sums[n] / sums[11]:.2f}" for n in (13, 12))
    assert f"and {low} to {high} times in sum" in PAGE
    shown = " | ".join(f"{sums[n]:.3f} | {1e3 * medians[n]:.3g}" for n in (11, 12, 13))
    assert f"| all checks | {shown} |" in PAGE
    before = [f"{each[n] / each[8]:.2f}" for each in (medians, sums) for n in (10, 9)]
    assert "had cost {} to {} and {} to {} times as much as 0.1.0's".format(*before) in PAGE
    assert f"{sums[6] / sums[5]:.2f} and {sums[7] / sums[5]:.2f} times as much in sum" in PAGE
    many = {n: f"{sum(cost[at] for at in MANY_SETS):.2f}" for n, cost in costs.items()}
    assert f"{many[9]} and {many[10]} s of the sum, where 0.1.0 took {many[8]} s" in PAGE
    assert f"taken {many[6]} and {many[7]} s for the same five" in PAGE
    assert f"the five cases take {many[12]} and {many[13]} s, where 0.1.0 took {many[11]} s" in PAGE


def test_the_costs_of_checks_beside_those_of_triton_are_those_of_the_page() -> None:
    def over_yardstick(n: int, middle: Callable[[list[float]], float]) -> float:
        checks, yard = (of_each(n, name) for name in ("ours: checks", YARDSTICK))
        return middle(checks) / middle(yard)

    for middle, words in ((median, "in the median case"), (sum, "in sum")):
        first, second = (over_yardstick(n, middle) / over_yardstick(11, middle) for n in (12, 13))
        assert re.search(
            rf"{first:.2f} and {second:.2f} times (as much as in 0.1.0 )?{words}", PAGE
        )


def of_each(run: int, part: str) -> list[float]:
    """The seconds of a part of each of a run's cases."""
    return [case[part] for case in stored(f"cost_{run}.json")["cases"]]
