"""What a diff tells before its verdicts, since it may explain them better than the code."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.records import Outcome
from attnbench.specs.case import Case, Value
from tests.stored_results import H200, attn, store_run, timed

PREFILL, DECODE = attn("q8k", dtype="bf16"), attn("64q1kv4k", dtype="bf16")
TIMES = {PREFILL: 2e-3, DECODE: 250e-6}


def outcomes(
    case: Case,
    *,
    slower: float = 1.0,
    kernels: tuple[str, ...] = (),
    clock: float | None = None,
    labels: tuple[str, ...] = (),
    resolved: Mapping[str, Value] | None = None,
) -> list[Outcome]:
    """Three rounds of a case on a GPU."""
    time = TIMES[case] * slower
    found = timed(case, time, 1.001 * time, 0.999 * time, labels=labels, resolved=resolved)
    guard = {} if clock is None else {"sm_clock_hz_median": clock}
    return [replace(each, kernels=kernels, guard=guard) for each in found]


def told(
    folder: Path,
    base: Mapping[Case, list[Outcome]],
    head: Mapping[Case, list[Outcome]],
    sentinels: tuple[float, float] | None = None,
) -> str:
    """A diff of two runs, whose copy and matmul rates changed by these factors."""
    db = str(folder / "suspects.db")
    with Store.open(db) as store:
        for label, results in (("base", base), ("head", head)):
            run = store_run(store, results, label=label, machine=H200)
            copy, matmul = sentinels if sentinels and label == "head" else (1.0, 1.0)
            facts = {
                "bytes_per_second": 4e12 * copy,
                "read_bytes_per_second": 4e12 * copy,
                "flops_per_second": 7e14 * matmul,
                "launch_seconds": 1e-6,
                "event_seconds": 2e-6,
            }
            for moment in ("start", "end") if sentinels else ():
                store.add_sentinels(run, moment, facts)
    sides = ["--base", "base", "--head", "head"]
    found = CliRunner().invoke(cli, ["diff", "--db", db, *sides], env={"COLUMNS": "200"})
    assert found.exit_code in (0, 1), found.stderr
    return found.stdout


FA2, FA3 = "void flash::fwd_kernel<128, bf16>(Params)", "void cutlass::device_kernel<FA3>(Params)"


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ((FA2,), (FA3,), "flash::fwd_kernel -> cutlass::device_kernel"),
        ((FA2,), (FA2, FA3), "cutlass::device_kernel added"),
        ((FA2, FA3), (FA2,), "cutlass::device_kernel gone"),
        (
            ("k<1>",),
            ("k<2>",),
            "k<1> -> k<2>",
        ),
        (
            tuple(f"a{n}" for n in range(5)),
            ("b",),
            "a0, a1, a2, 2 more -> b",
        ),
    ],
)
def test_a_changed_kernel_is_the_first_suspect(
    tmp_path: Path, before: tuple[str, ...], after: tuple[str, ...], line: str
) -> None:
    text = told(
        tmp_path,
        {PREFILL: outcomes(PREFILL, kernels=before), DECODE: outcomes(DECODE, kernels=(FA2,))},
        {PREFILL: outcomes(PREFILL, kernels=after), DECODE: outcomes(DECODE, kernels=(FA2,))},
    )
    assert text.splitlines()[3] == f"kernel changed: {line}: sdpa q8k"


def test_kernels_in_another_order_or_unknown_on_a_side_are_no_change(tmp_path: Path) -> None:
    text = told(
        tmp_path,
        {PREFILL: outcomes(PREFILL, kernels=("a", "b")), DECODE: outcomes(DECODE)},
        {PREFILL: outcomes(PREFILL, kernels=("b", "a")), DECODE: outcomes(DECODE, kernels=("a",))},
    )
    assert "kernel changed" not in text


def test_another_choice_of_the_backend_is_told(tmp_path: Path) -> None:
    text = told(
        tmp_path,
        {DECODE: outcomes(DECODE, resolved={"num_splits": 4, "layout": "NHD"})},
        {DECODE: outcomes(DECODE, resolved={"num_splits": 8, "layout": "NHD"})},
    )
    assert "what ran changed: num_splits 4 -> 8: sdpa 64q1kv4k\n" in text
    assert "layout NHD ->" not in text


def test_another_clock_and_a_label_of_one_side_are_told(tmp_path: Path) -> None:
    text = told(
        tmp_path,
        {PREFILL: outcomes(PREFILL, clock=1.98e9), DECODE: outcomes(DECODE, clock=1.98e9)},
        {
            PREFILL: outcomes(PREFILL, clock=1.71e9, labels=("power_limited", "outliers")),
            DECODE: outcomes(DECODE, clock=1.97e9),
        },
    )
    assert (
        "the SM clock differs by over 2 % in 1 of 2 cases, most in sdpa q8k: 1.98 -> 1.71 GHz\n"
    ) in text
    assert "power_limited only in head: sdpa q8k\n" in text


def test_a_gpu_that_both_sides_shared_is_told(tmp_path: Path) -> None:
    shared = {
        PREFILL: outcomes(PREFILL, labels=("shared_gpu", "bimodal")),
        DECODE: outcomes(DECODE, labels=("bimodal",)),
    }
    text = told(tmp_path, shared, shared)
    assert "shared_gpu on both sides, whose other processes may differ: sdpa q8k\n" in text
    assert "bimodal" not in text.split("verdict")[0]
    assert "outliers in head" not in text


def test_rounds_whose_own_samples_leave_their_time_uncertain_are_named(tmp_path: Path) -> None:
    steady = {case: timed(case, time) for case, time in TIMES.items()}
    two_modes = tuple(TIMES[DECODE] * (1 + 0.2 * (at % 2)) for at in range(20))
    spread = {**steady, DECODE: [replace(steady[DECODE][0], samples=two_modes)]}
    text = told(tmp_path, steady, spread)
    line = "the samples leave a round's time uncertain by over 1 %, only in head: sdpa 64q1kv4k\n"
    assert line in text


@pytest.mark.parametrize(("clock", "is_told"), [(1.95e9, False), (1.93e9, True), (2.03e9, True)])
def test_a_clock_is_another_from_2_percent_on(tmp_path: Path, clock: float, is_told: bool) -> None:
    text = told(
        tmp_path,
        {PREFILL: outcomes(PREFILL, clock=1.98e9)},
        {PREFILL: outcomes(PREFILL, clock=clock)},
    )
    assert ("the SM clock differs by over 2 %" in text) is is_told


@pytest.mark.parametrize(("rate", "is_told"), [(0.985, False), (0.975, True), (1.025, True)])
def test_a_device_has_moved_from_2_percent_on(tmp_path: Path, rate: float, is_told: bool) -> None:
    same = {PREFILL: outcomes(PREFILL)}
    text = told(tmp_path, same, same, sentinels=(rate, 1.0))
    assert ("the device itself moved" in text) is is_told


def test_a_device_that_moved_is_told_and_taken_off_beside_the_change(tmp_path: Path) -> None:
    text = told(
        tmp_path,
        {case: outcomes(case) for case in TIMES},
        {PREFILL: outcomes(PREFILL, slower=1.25), DECODE: outcomes(DECODE, slower=1.1)},
        sentinels=(0.8, 0.8),
    )
    assert (
        "the device itself moved between the newest runs, by its sentinels: copy rate -20.0 %, "
        "read rate -20.0 %, matmul rate -20.0 %: suspect clocks and driver before the code\n"
    ) in text
    rows = {line.split()[1]: line.split()[-1] for line in text.splitlines() if "slower " in line}
    # A device at 0.8 of its rates takes 1.25 times as long.
    assert rows["q8k"] == "+0.0"
    assert rows["64q1kv4k"] == "-12.0"


def test_a_device_that_stayed_is_not_told(tmp_path: Path) -> None:
    same = {case: outcomes(case) for case in TIMES}
    text = told(tmp_path, same, same, sentinels=(1.01, 0.99))
    assert "sentinels" not in text
    assert "device\n" not in text
