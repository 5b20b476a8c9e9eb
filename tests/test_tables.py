"""The tables that people read, letter by letter."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.db.store import Store
from attnbench.labels import Label
from attnbench.provenance.machine import Machine
from attnbench.reasons import in_short
from attnbench.records import Status
from attnbench.reporting.notes import LETTERS
from attnbench.reporting.pivot import pivot_tables
from attnbench.reporting.tables import Extra, results_tables
from attnbench.reporting.text_table import Style
from attnbench.results.cohort import cohorts
from attnbench.specs.case import Layout, Value
from attnbench.timing.method import Method
from attnbench.timing.sentinels import Sentinels
from tests.markdown import unpadded
from tests.stored_results import (
    CPU,
    H200,
    ON_CPU,
    Results,
    attn,
    cache_write,
    failed,
    mla,
    store_run,
    timed,
)

ON_GPU = Method("cudagraph")
H200_REACHED = Sentinels(4.25e12, 3.9e12, 781e12, 1.2e-6, 4e-6)
CPU_REACHED = Sentinels(20e9, 15e9, 300e9)


class Shown:
    """Stores results as one run and shows them."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "shown.db"

    def table(
        self,
        results: Results,
        machine: Machine = CPU,
        method: Method = ON_CPU,
        style: Style = "table",
        label: str | None = None,
        metric: str | None = None,
        sentinels: Sequence[Sentinels] = (),
        host: bool = False,
        verbose: bool = False,
    ) -> str:
        """`sentinels` of the run's start and of its end."""
        reached = dict(zip(("start", "end"), (s.as_facts() for s in sentinels), strict=False))
        with Store.open(self._path) as store:
            run = store_run(store, results, machine=machine, method=method, label=label)
            measurements, runs = store.measurements([run]), {run: store.run(run)}
        listed = cohorts(measurements, runs, {run: reached})
        if metric:
            return pivot_tables([listed], "backend", metric, style)
        return results_tables(listed, style, extra=Extra(host, verbose=verbose))


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    return Shown(tmp_path)


def on_a_cpu() -> Results:
    chosen: dict[str, dict[str, Value]] = {
        "naive": {"block_size": 16, "layout": "NHD"},
        "sdpa": {"sdpa_backend": "flash", "layout": "dense"},
    }
    specs = ("q512", "8q1kv1k", "2q256_8q1kv1k")
    factors = {"naive": 3.42, "sdpa": 1.0}
    times = dict(zip(specs, (7.61e-3, 1.22e-3, 4.18e-3), strict=True))
    return {
        (case := attn(spec, backend)): timed(
            case,
            *(times[spec] * factors[backend] * (1 + 0.004 * at) for at in range(3)),
            resolved=chosen[backend],
        )
        for spec in specs
        for backend in factors
    }


def on_a_gpu() -> Results:
    """A wrong time, a mixed cache, a lost round, and kernels that vary."""
    q8k, decode = attn("q8k", dtype="bf16"), attn("64q1kv4k", dtype="bf16")
    small = attn("8q1kv1k", dtype="bf16")
    naive = attn("8q1kv1k", "naive", dtype="bf16")
    cudnn, flash = {"sdpa_backend": "cudnn"}, {"sdpa_backend": "flash"}
    crash = failed(Status.CRASHED, "the worker died with signal 11")
    return {
        q8k: timed(q8k, 3e-3, 3.01e-3, 3.02e-3, resolved=cudnn, peak_memory=64 * 2**20),
        decode: timed(decode, 200e-6, 200e-6, 200e-6, resolved=flash),
        small: timed(small, 19e-6, 19.1e-6, 19e-6, resolved=flash, cache_state="mixed"),
        naive: [*timed(naive, 64e-6, 66e-6, cache_state="mixed"), *crash],
    }


def with_host_times(results: Results) -> Results:
    """Each round with 20 us and a little more to enqueue a call; the first case has a plan."""
    return {
        case: [
            replace(each, enqueue_seconds=20e-6 + at * 1e-6, plan_seconds=None if nth else 310e-6)
            for at, each in enumerate(rounds)
        ]
        for nth, (case, rounds) in enumerate(results.items())
    }


def thresholds() -> Results:
    return {
        (case := mla("q64_4q1kv256", threshold=threshold)): timed(case, seconds)
        for threshold, seconds in ((1, 2.5e-3), (64, 9.5e-3))
    }


def refusals() -> Results:
    """Two backends that cannot run, one for one reason, one for two; and one that can."""
    needs = "needs an NVIDIA GPU; this device is Intel Xeon, 2 cores"
    specs = ("q512", "8q1kv1k", "q1k")
    timed_case = attn("q512")
    return {
        **{attn(spec, "flash"): failed(Status.REFUSED, needs) for spec in specs},
        **{attn(spec, "triton"): failed(Status.REFUSED, needs) for spec in specs[:1]},
        timed_case: timed(timed_case, 1e-3),
        attn("q1k"): failed(Status.INCORRECT, "3 of 64 rows differ: cosine 0.71"),
        attn("8q1kv1k"): failed(Status.TIMEOUT, "measuring took over 60 s"),
    }


def layouts() -> Results:
    times = {1: 2.9e-6, 64: 5.4e-6, 16384: 600e-6}
    slower: dict[Layout, float] = {"NHD": 1.0, "HND": 1.2}
    return {
        (case := cache_write(tokens, layout)): timed(case, times[tokens] * slower[layout])
        for tokens in times
        for layout in slower
    }


def two_families() -> Results:
    first, second = attn("q512"), mla("q64")
    return {first: timed(first, 1e-3), second: timed(second, 1e-3)}


CPU_TABLE = """\
run 1 "main": attn on Intel Xeon, 2 cores; timer cpu, cache cold; 3 rounds
dtype fp32, num_q_heads 32, num_kv_heads 8, head_dim 128

                        latency   +-                     vs   +-
spec           backend       ms    %  GFLOP/s   GB/s   best    %
-------------  -------  -------  ---  -------  -----  -----  ---
q512           naive       26.1  0.4     82.3  0.803  3.42x  0.2
q512           sdpa        7.64  0.4      282   2.74   best    -
8q1kv1k        naive       4.19  0.4     32.0   16.1  3.42x  0.2
8q1kv1k        sdpa        1.22  0.4      110   55.0   best    -
8q1kv1k_2q256  naive       14.4  0.4     84.5   6.16  3.42x  0.2
8q1kv1k_2q256  sdpa        4.20  0.4      289   21.1   best    -"""

CHOSEN = """

naive chose block_size 16, layout NHD
sdpa chose sdpa_backend flash, layout dense"""

GPU_TABLE = """\
run 1: attn on NVIDIA H200 (SM90); timer cudagraph, cache cold; 3 rounds
dtype bf16, num_q_heads 32, num_kv_heads 8, head_dim 128

                   latency                  roof  memory     vs    +-
spec      backend       us  TFLOP/s  GB/s      %     MiB   best     %  note
--------  -------  -------  -------  ----  -----  ------  -----  ----  -----
q8k       sdpa        3010      183  55.7   17.1    64.0      -     -
64q1kv4k  sdpa        !200     21.5  5370  109.3       -      -     -  R
8q1kv1k   sdpa        19.0     7.05  1770      -       -   best     -  1
8q1kv1k   naive       65.0     2.07   518      -       -  3.41x  17.6  1 2/3
a wider terminal also shows: +- %, chose

vs best: if rounds failed, over the rounds in which both have a time
R: above_roofline: less than the least time that this hardware allows, so it is
  wrong
1: cache mixed, not cold: too few working sets to outgrow the cache
2/3: 2 of 3 rounds

crashed: naive 8q1kv1k: the worker died with signal 11"""

GPU_MARKDOWN = """\
**run 1: attn on NVIDIA H200 (SM90); timer cudagraph, cache cold; 3 rounds**

dtype bf16, num_q_heads 32, num_kv_heads 8, head_dim 128

| spec | backend | latency us | +- % | TFLOP/s | GB/s | roof % | memory MiB | chose | vs best | +- % | note |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: | --- |
| q8k | sdpa | 3010 | 0.3 | 183 | 55.7 | 17.1 | 64.0 | sdpa_backend cudnn | - | - |  |
| 64q1kv4k | sdpa | !200 | 0.0 | 21.5 | 5370 | 109.3 | - | sdpa_backend flash | - | - | R |
| 8q1kv1k | sdpa | 19.0 | 0.3 | 7.05 | 1770 | - | - | sdpa_backend flash | best | - | 1 |
| 8q1kv1k | naive | 65.0 | 1.5 | 2.07 | 518 | - | - | - | 3.41x | 17.6 | 1 2/3 |

- vs best: if rounds failed, over the rounds in which both have a time
- R: above_roofline: less than the least time that this hardware allows, so it is wrong
- 1: cache mixed, not cold: too few working sets to outgrow the cache
- 2/3: 2 of 3 rounds

- crashed: naive 8q1kv1k: the worker died with signal 11"""  # noqa: E501

LAYOUTS_TABLE = """\
run 1: cache-write on NVIDIA H200 (SM90); timer cudagraph, cache cold; 1 round
backend torch, dtype bf16, num_kv_heads 8, head_dim 128

                latency   +-        roof        vs
tokens  layout       us    %  GB/s     %      best
------  ------  -------  ---  ----  ----  --------
     1  NHD        2.90  0.1  2.83   0.1  quickest
     1  HND        3.48  0.1  2.36   0.0     1.20x
    64  NHD        5.40  0.1  97.2   2.0  quickest
    64  HND        6.48  0.1  81.0   1.6     1.20x
 16384  NHD         600  0.1   224   4.6  quickest
 16384  HND         720  0.1   187   3.8     1.20x

quickest: the least time of single rounds, which rank nothing; --rounds 3 would

torch: HND takes 1.200x the time of NHD (95 % interval 1.200 to 1.200; 3 cases,
  1.20x to 1.20x)"""

THRESHOLDS_TABLE = """\
run 1: mla on Intel Xeon, 2 cores; timer cpu, cache cold; 1 round
backend torch-absorbed, dtype fp32, num_q_heads 16, kv_lora_rank 512,
qk_nope_head_dim 128, qk_rope_head_dim 64, v_head_dim 128, scope layer
batch 4q1kv256_q64

           decode  prefill  latency   +-                        vs
threshold    reqs     reqs       ms    %  GFLOP/s  GB/s       best
---------  ------  -------  -------  ---  -------  ----  ---------
        1       4        1     2.50  0.1      137  4.98   quickest
       64       4        1     9.50  0.1     36.0  1.31  same work

same work: another threshold that splits the batch like the best's
quickest: the least time of single rounds, which rank nothing; --rounds 3 would

torch-absorbed 4q1kv256_q64: quickest threshold 1 (2.50 ms), the same work as 64"""

REFUSALS_TABLE = """\
run 1: attn on Intel Xeon, 2 cores; timer cpu, cache cold; 1 round
backend sdpa, dtype fp32, num_q_heads 32, num_kv_heads 8, head_dim 128

      latency   +-
spec       ms    %  TFLOP/s  GB/s
----  -------  ---  -------  ----
q512     1.00  0.1     2.15  21.0

refused: flash, triton (4 cases): needs an NVIDIA GPU; this device is Intel
  Xeon, 2 cores
incorrect: sdpa q1k: 3 of 64 rows differ: cosine 0.71
timeout: sdpa 8q1kv1k: measuring took over 60 s"""

ALL_REFUSED = """\
run 1: attn on Intel Xeon, 2 cores; timer cpu, cache cold
backend flash, dtype fp32, num_q_heads 32, num_kv_heads 8, head_dim 128

refused: flash q1k: needs an NVIDIA GPU"""

TWO_FAMILIES_TABLE = """\
run 1: attn on Intel Xeon, 2 cores; timer cpu, cache cold, samples 5,
warmup_calls 3; 1 round
backend sdpa, dtype fp32, num_q_heads 32, num_kv_heads 8, head_dim 128

      latency   +-
spec       ms    %  TFLOP/s  GB/s
----  -------  ---  -------  ----
q512     1.00  0.1     2.15  21.0

run 1: mla on Intel Xeon, 2 cores; timer cpu, cache cold, samples 5,
warmup_calls 3; 1 round
backend torch-absorbed, dtype fp32, num_q_heads 16, kv_lora_rank 512,
qk_nope_head_dim 128, qk_rope_head_dim 64, v_head_dim 128, scope layer

      latency   +-
spec       ms    %  GFLOP/s  GB/s
----  -------  ---  -------  ----
q64      1.00  0.1      290  9.99"""

CPU_TABLE_WITH_SENTINELS = """\
                                                         of
                        latency   +-                   meas     vs   +-
spec           backend       ms    %  GFLOP/s   GB/s      %   best    %
-------------  -------  -------  ---  -------  -----  -----  -----  ---
q512           naive       26.1  0.4     82.3  0.803   27.4  3.42x  0.2
q512           sdpa        7.64  0.4      282   2.74   93.9   best    -
8q1kv1k        naive       4.19  0.4     32.0   16.1   80.4  3.42x  0.2
8q1kv1k        sdpa        1.22  0.4      110   55.0  275.0   best    -
8q1kv1k_2q256  naive       14.4  0.4     84.5   6.16   30.8  3.42x  0.2
8q1kv1k_2q256  sdpa        4.20  0.4      289   21.1  105.3   best    -"""

LAYOUTS_WITH_SENTINELS = """\
                                            of
                latency   +-        roof  meas        vs
tokens  layout       us    %  GB/s     %     %      best
------  ------  -------  ---  ----  ----  ----  --------
     1  NHD        2.90  0.1  2.83   0.1   0.1  quickest
"""

GPU_TABLE_WITH_HOST_TIMES = """\
                   latency  enqueue  plan   roof  memory     vs    +-
spec      backend       us       us    us      %     MiB   best     %  note
--------  -------  -------  -------  ----  -----  ------  -----  ----  -----
q8k       sdpa        3010     21.0   310   17.1    64.0      -     -
64q1kv4k  sdpa        !200     21.0     -  109.3       -      -     -  R
8q1kv1k   sdpa        19.0     21.0     -      -       -   best     -  1
8q1kv1k   naive       65.0     20.5     -      -       -  3.41x  17.6  1 2/3
a wider terminal also shows: +- %, TFLOP/s, GB/s, chose
"""

PIVOT_TABLE = """\
run 1: attn on Intel Xeon, 2 cores; timer cpu, cache cold; 3 rounds
dtype fp32, num_q_heads 32, num_kv_heads 8, head_dim 128

latency, ms

spec           naive  sdpa
-------------  -----  ----
q512            26.1  7.64
8q1kv1k         4.19  1.22
8q1kv1k_2q256   14.4  4.20"""

PIVOT_WITH_NOTES = """\
run 1: attn on NVIDIA H200 (SM90); timer cudagraph, cache cold; 3 rounds
dtype bf16, num_q_heads 32, num_kv_heads 8, head_dim 128

part of the roofline, %

spec         sdpa  naive
--------  -------  -----
q8k          17.1      -
64q1kv4k  !109.3*      -
8q1kv1k        -*     -*

*: has a note in the table without --pivot
!: above_roofline, so it is wrong

crashed: naive 8q1kv1k: the worker died with signal 11"""

PIVOT_OF_THRESHOLDS = """\
run 1: mla on Intel Xeon, 2 cores; timer cpu, cache cold; 1 round
backend torch-absorbed, dtype fp32, num_q_heads 16, kv_lora_rank 512,
qk_nope_head_dim 128, qk_rope_head_dim 64, v_head_dim 128, scope layer

latency, ms

              torch-absorbed  torch-absorbed
spec             threshold 1    threshold 64
------------  --------------  --------------
4q1kv256_q64            2.50            9.50"""


def test_backends_side_by_side_with_the_best_marked(shown: Shown) -> None:
    assert shown.table(on_a_cpu(), label="main") == CPU_TABLE


def test_a_gpu_has_a_roofline_and_doubtful_rows_say_why(shown: Shown) -> None:
    assert shown.table(on_a_gpu(), H200, ON_GPU) == GPU_TABLE


def test_beside_sentinels_a_time_is_a_part_of_what_the_device_reached(shown: Shown) -> None:
    assert CPU_TABLE_WITH_SENTINELS in shown.table(on_a_cpu(), sentinels=[CPU_REACHED])
    table = shown.table(layouts(), H200, ON_GPU, sentinels=[H200_REACHED])
    assert LAYOUTS_WITH_SENTINELS in table


def test_the_part_of_what_was_reached_gives_way_where_80_columns_are_short(shown: Shown) -> None:
    assert shown.table(on_a_gpu(), H200, ON_GPU, sentinels=[H200_REACHED]) == GPU_TABLE.replace(
        "+- %, chose", "+- %, of meas %, chose"
    )
    markdown = shown.table(on_a_gpu(), H200, ON_GPU, "markdown", sentinels=[H200_REACHED])
    assert "| roof % | of meas % | memory MiB |" in unpadded(markdown)


def test_host_times_are_shown_on_request_and_rates_give_way(shown: Shown) -> None:
    results = with_host_times(on_a_gpu())
    assert shown.table(results, H200, ON_GPU) == GPU_TABLE
    assert GPU_TABLE_WITH_HOST_TIMES in shown.table(results, H200, ON_GPU, host=True)
    markdown = shown.table(results, H200, ON_GPU, "markdown", host=True)
    assert "| +- % | enqueue us | plan us | TFLOP/s | GB/s |" in unpadded(markdown)


def test_host_times_that_are_not_known_are_not_shown(shown: Shown) -> None:
    unknown = "\n\nthe host's time for a call is unknown for these cases"
    assert shown.table(on_a_cpu(), host=True, label="main") == CPU_TABLE + unknown


@pytest.mark.parametrize(
    ("later", "line"),
    [
        ({"bytes_per_second": 4.2e12, "launch_seconds": 1.22e-6}, None),
        (
            {"bytes_per_second": 4.1e12, "flops_per_second": 800e12, "launch_seconds": 1.3e-6},
            "the device drifted from run 1's start to its end: copy rate -3.5 %, matmul rate +2.4 "
            "%",
        ),
        (
            {"read_bytes_per_second": 3e12, "event_seconds": 3e-6},
            "the device drifted from run 1's start to its end: read rate -23.1 %; other processes "
            "or a changing clock may be the cause: measure on a quieter machine",
        ),
    ],
)
def test_a_device_that_drifted_during_a_run_is_told(
    shown: Shown, later: dict[str, float], line: str | None
) -> None:
    end = replace(H200_REACHED, **later)
    text = shown.table(layouts(), H200, ON_GPU, "markdown", sentinels=[H200_REACHED, end])
    assert [each[2:] for each in text.splitlines() if "drifted" in each] == [line][: bool(line)]


@pytest.mark.parametrize(("end", "told"), [(0.71e-6, True), (0.55e-6, False), (None, False)])
def test_a_process_in_which_kernels_began_to_take_longer_is_told(
    shown: Shown, end: float | None, told: bool
) -> None:
    moments = [replace(H200_REACHED, launch_seconds=each) for each in (0.54e-6, end)]
    text = shown.table(layouts(), H200, ON_GPU, "markdown", sentinels=moments)
    line = (
        "- an empty kernel of a graph took 540 ns at run 1's start and 710 ns at its end: "
        "times of short kernels in it do not compare"
    )
    assert (line in text.splitlines()) is told
    assert ("empty kernel" in text) is told


def test_a_time_that_cannot_be_is_never_the_best(shown: Shown) -> None:
    wrong, right = attn("64q1kv4k", "naive", dtype="bf16"), attn("64q1kv4k", dtype="bf16")
    third = attn("64q1kv4k", "triton", dtype="bf16")
    results = {wrong: timed(wrong, 2e-4), right: timed(right, 3e-4), third: timed(third, 6e-4)}
    lines = shown.table(results, H200, ON_GPU).splitlines()
    cells = {row[0]: row for row in map(str.split, lines) if row and row[0] in ("naive", "sdpa")}
    assert (cells["naive"][1], cells["naive"][6]) == ("!200", "-")
    assert (cells["sdpa"][1], cells["sdpa"][6]) == ("300", "quickest")
    labelled = {right: timed(right, 3e-4, labels=("above_roofline",))}
    assert "!300" in shown.table(labelled, H200, ON_GPU)


@pytest.mark.parametrize("label", Label)
def test_every_label_is_explained(shown: Shown, label: Label) -> None:
    results = {(case := attn("q512")): timed(case, 1e-3, labels=(label.value,))}
    shown_line = " ".join(shown.table(results).split())
    assert f"all rows: {label}: {label.meaning}" in shown_line
    guide = Path(__file__).parent.parent / "docs/guide/read-a-table.md"
    assert f"| `{label}` | {label.meaning} |" in guide.read_text()


def test_a_label_of_another_version_is_shown_as_it_is(shown: Shown) -> None:
    results = {(case := attn("q512")): timed(case, 1e-3, labels=("dusty",))}
    assert "all rows: dusty" in shown.table(results).splitlines()


def test_markdown_holds_the_same(shown: Shown) -> None:
    assert unpadded(shown.table(on_a_gpu(), H200, ON_GPU, "markdown")) == GPU_MARKDOWN


def test_cache_writes_are_told_by_their_tokens(shown: Shown) -> None:
    assert shown.table(layouts(), H200, ON_GPU) == LAYOUTS_TABLE


def test_a_threshold_shows_how_many_requests_took_each_path(shown: Shown) -> None:
    assert shown.table(thresholds()) == THRESHOLDS_TABLE


def test_what_has_no_time_is_listed_with_its_sentence(shown: Shown) -> None:
    assert shown.table(refusals()) == REFUSALS_TABLE


def test_what_was_incorrect_once_has_no_rank_and_its_round_is_named(shown: Shown) -> None:
    right, wrong = attn("q512", "naive"), attn("q512", "sdpa")
    text = shown.table(
        {
            right: timed(right, 1e-3, 1.001e-3, 0.999e-3),
            wrong: [*timed(wrong, 1e-4), *failed(Status.INCORRECT, "off"), *timed(wrong, 1e-4)],
        }
    )
    assert "incorrect in round 2, so no round counts: sdpa q512: off" in text.splitlines()
    assert not any(word in text for word in ("best", "tie", "slower"))


def test_a_time_that_a_cpu_never_reached_is_marked_and_not_ranked(shown: Shown) -> None:
    right, stale = attn("q1kv16k", "naive"), attn("q1kv16k", "sdpa")
    results = {right: timed(right, 5e-3), stale: timed(stale, 13e-6)}
    text = shown.table(results, sentinels=[CPU_REACHED, CPU_REACHED])
    assert "!" in next(line for line in text.splitlines() if "sdpa " in line)
    assert "above_roofline: less than the least time" in text
    assert "!" not in shown.table(results)


def test_where_nothing_ran_there_is_no_table(shown: Shown) -> None:
    results = {attn("q1k", "flash"): failed(Status.REFUSED, "needs an NVIDIA GPU")}
    assert shown.table(results) == ALL_REFUSED


def test_each_family_has_a_table_and_unusual_methods_are_told(shown: Shown) -> None:
    method = Method("cpu", samples=5, warmup_calls=3)
    assert shown.table(two_families(), method=method) == TWO_FAMILIES_TABLE


def test_what_backends_chose_is_shown_on_request(shown: Shown) -> None:
    shorter = shown.table(on_a_cpu(), label="main")
    assert shown.table(on_a_cpu(), label="main", verbose=True).replace("run 2", "run 1") == (
        shorter + CHOSEN
    )


@pytest.mark.parametrize(
    ("slowed", "note", "marked"),
    [
        (4, "P: power_limited", 4),
        (8, "all rows but q1kv9k; q1kv10k: power_limited", 0),
        (9, "all rows but q1kv10k: power_limited", 0),
        (10, "all rows: power_limited", 0),
    ],
)
def test_from_four_fifths_of_the_rows_a_note_names_the_others(
    shown: Shown, slowed: int, note: str, marked: int
) -> None:
    cases = [attn(f"q1kv{at + 1}k") for at in range(10)]
    labels = [("power_limited",)] * slowed + [()] * (10 - slowed)
    results = {c: timed(c, 1e-3, labels=each) for c, each in zip(cases, labels, strict=True)}
    table = shown.table(results).replace("sdpa ", "")
    assert f"\n{note}: the GPU was slowed" in table
    assert len(re.findall(r" P$", table, re.MULTILINE)) == marked


@pytest.mark.parametrize(("wobble", "is_line"), [(1.0, True), (1.05, True), (1.5, False)])
def test_a_line_that_misses_a_size_by_over_a_tenth_is_not_shown(
    shown: Shown, wobble: float, is_line: bool
) -> None:
    sizes = (1, 16, 256, 1024, 4096, 16384, 65536)
    results = {
        (case := cache_write(size, "NHD")): timed(
            case, *[(2e-6 + 5e-9 * size) * (wobble if size == 1024 else 1)] * 3
        )
        for size in sizes
    }
    table = shown.table(results, H200, ON_GPU)
    assert ("time = fixed + tokens x slope" in table) == is_line
    assert ("no linear fit for 1 of 1 sweeps" in table) == (not is_line)


def test_out_of_memory_is_one_line(shown: Shown) -> None:
    paragraph = (
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 139.81 GiB "
        "of which 3.10 GiB is free. Including non-PyTorch memory, this process has 136.70 GiB "
        "memory in use. Of the allocated memory 130.00 GiB is allocated by PyTorch, and 5.00 GiB "
        "is reserved by PyTorch but unallocated. If reserved but unallocated memory is large try "
        "setting PYTORCH_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
    )
    results = {attn("q512"): failed(Status.OOM, paragraph)}
    last = "out-of-memory: sdpa q512: CUDA out of memory: 20.00 GiB asked for, 3.10 of\n"
    assert shown.table(results).endswith(f"{last}  139.81 GiB free")


@pytest.mark.parametrize("reason", ["CUDA out of memory", "out of memory", "", "signal 9"])
def test_other_reasons_are_shown_as_they_are(reason: str) -> None:
    assert in_short(reason) == reason


def test_every_label_has_a_letter_of_its_own() -> None:
    assert {*LETTERS} == {*Label}
    assert len({*LETTERS.values()}) == len(Label)


def test_what_all_rows_have_is_said_once(shown: Shown) -> None:
    results = {
        (case := attn(spec)): timed(case, 1e-3, labels=labels)
        for spec, labels in (("q512", ("wide_interval",)), ("q1k", ("wide_interval", "shared_gpu")))
    }
    expected = """\
spec       ms    %  TFLOP/s  GB/s  note
----  -------  ---  -------  ----  ----
q512     1.00  0.1     2.15  21.0
q1k      1.00  0.1     8.60  41.9  G

G: shared_gpu: another process was on the GPU
all rows: wide_interval: sampling ended before the median was certain"""
    assert shown.table(results).endswith(expected)
    pivoted = """\
spec   sdpa
----  -----
q512   1.00
q1k   1.00*

*: has a note in the table without --pivot
all: wide_interval: sampling ended before the median was certain"""
    assert shown.table(results, metric="latency").endswith(pivoted)


def test_a_pivot_has_a_column_for_each_backend(shown: Shown) -> None:
    assert shown.table(on_a_cpu(), metric="latency") == PIVOT_TABLE


def test_a_pivot_marks_what_has_a_note(shown: Shown) -> None:
    assert shown.table(on_a_gpu(), H200, ON_GPU, metric="roofline") == PIVOT_WITH_NOTES


def test_a_pivot_has_a_column_for_each_way_to_use_a_backend(shown: Shown) -> None:
    assert shown.table(thresholds(), metric="latency") == PIVOT_OF_THRESHOLDS


@pytest.mark.parametrize(
    ("metric", "line"),
    [
        ("latency", "8q1kv1k         4.19  1.22"),
        ("tflops", "8q1kv1k         32.0   110"),
        ("gbps", "8q1kv1k         16.1  55.0"),
        ("roofline", "part of the roofline: unknown for all of these cases"),
    ],
)
def test_a_pivot_shows_any_metric(shown: Shown, metric: str, line: str) -> None:
    assert line in shown.table(on_a_cpu(), metric=metric).splitlines()


def test_usual_tables_fit_80_columns(shown: Shown) -> None:
    tables = [
        shown.table(on_a_cpu()),
        shown.table(on_a_gpu(), H200, ON_GPU),
        shown.table(thresholds()),
        shown.table(refusals()),
        shown.table(with_host_times(on_a_cpu()), sentinels=[CPU_REACHED], host=True),
        shown.table(with_host_times(on_a_gpu()), H200, ON_GPU, sentinels=[H200_REACHED], host=True),
    ]
    assert max(len(line) for table in tables for line in table.splitlines()) <= 80
