"""`attnbench repro`: the command measures the same case again, and differences are told."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from click import Context
from click.testing import CliRunner, Result

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.families import FAMILIES
from attnbench.results.command_line import case_command
from attnbench.results.former_method import changes_since
from attnbench.running.plan import Plan
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import MlaShape
from attnbench.timing.method import Method
from tests.conftest import Attnbench, small_case
from tests.stored_results import attn, mla, start, store_run, timed

SMALL_CASES = {
    "attn": "--backend naive --batch-specs q8_2q1kv20 --num-q-heads 4 --num-kv-heads 2 "
    "--head-dim 16 --layout HND --block-size 32",
    "mla": "--backend torch-absorbed --batch-specs q4_2q1kv20 --num-q-heads 2 --kv-lora-rank 32 "
    "--qk-nope-head-dim 16 --qk-rope-head-dim 8 --v-head-dim 16 --thresholds 4 --cache hot",
    "cache-write": "--backend torch --num-tokens 8 --num-heads 2 --head-size 16 --layout HND "
    "--dtype bf16",
}


@pytest.mark.parametrize("family", SMALL_CASES)
def test_the_command_measures_the_same_case_by_the_same_method(
    attnbench: Attnbench, tmp_path: Path, family: str
) -> None:
    words = [*SMALL_CASES[family].split(), "--rounds", "1", "--repeats", "5", "--seed", "3"]
    first = attnbench(family, *words, "--device", "cpu")
    assert first.returncode == 0, first.stderr
    path = tmp_path / "attnbench.db"
    with Store.open(path) as store:
        (before,) = store.measurements([1])
    shown = attnbench("repro", before.case_key[:8])
    assert shown.returncode == 0, shown.stderr
    name, *rest = shlex.split(shown.stdout)
    assert name == "attnbench"
    again = attnbench(*rest)
    assert again.returncode == 0, again.stderr
    with Store.open(path) as store:
        (after,) = store.measurements([2])
        assert store.plan(2) == store.plan(1)
    assert (after.case, after.method) == (before.case, before.method)


CASES = [
    *(small_case(family, dtype="bf16", block_size=64) for family in FAMILIES),
    small_case("attn", layout="HND"),
    small_case("prefill-trtllm", dtype="bf16", query_dtype="fp8", kv_cache_dtype="fp8"),
    Case("cache-write", "torch", parse_batch_spec("q8"), MlaShape().for_cache_write(), "bf16"),
    small_case("cache-write", page_order="contiguous", knobs=(("num_blocks", 64),)),
    small_case("attn", window=8, softcap=30.0, kv_data="zeros", page_order="contiguous"),
    small_case("attn", knobs=(("flash_version", 3), ("num_splits", 4))),
    small_case("mla", index_topk=8, topk_pattern="window", kv_cache_dtype="fp8_ds_mla"),
    small_case("mla", knobs=(("num_splits", 4), ("prefill_backend", "fa3"), ("threshold", 4))),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.family}-{case.key[:8]}")
def test_a_command_reads_every_option_that_it_is_given(case: Case) -> None:
    method = Method("eager", warmup_calls=3, samples=5, regime="sustained").as_facts()
    plan = {"rounds": 3, "seed": 1, "num_layers": 4, "profile_memory": True, "host": True}
    words = case_command(case, method, plan)
    command = cli.get_command(Context(cli), words[1])
    assert command is not None
    # It refuses what it does not know.
    command.make_context(words[1], words[2:], **cli.context_settings)


def test_a_quantisation_is_asked_for_by_its_name() -> None:
    words = shlex.join(case_command(CASES[len(FAMILIES) + 1], Method("cudagraph").as_facts(), {}))
    assert "--quant fp8-qkv" in words
    assert "dtype" not in words


def test_values_and_flags_stand_as_the_command_reads_them() -> None:
    case = replace(attn("8q1kv1k"), window=128, sinks=True, knobs=(("sdpa_backend", "math"),))
    method = Method("cpu", cache="hot", samples=9).as_facts()
    assert shlex.join(case_command(case, method, {"rounds": 5, "seed": 0, "host": False})) == (
        "attnbench attn --backend sdpa --batch-specs 8q1kv1k --dtype fp32 --num-q-heads 32 "
        "--num-kv-heads 8 --head-dim 128 --window 128 --sinks --sdpa-backend math --cache hot "
        "--repeats 9 --rounds 5 --seed 0 --device cpu"
    )


def test_a_scope_as_it_was_before_is_asked_for_by_no_option() -> None:
    case = small_case("mla", "torch-mha", scope="layer")
    assert "--scope layer" in shlex.join(case_command(case, Method("cpu").as_facts(), {}))
    with pytest.raises(UsageError, match="no option of `attnbench mla` sets scope_version"):
        case_command(replace(case, scope_version=1), Method("cpu").as_facts(), {})


def test_a_method_that_no_option_sets_is_told() -> None:
    method = Method("cudagraph", half_width=0.01).as_facts()
    with pytest.raises(UsageError) as caught:
        case_command(attn("q1k"), method, {})
    assert str(caught.value) == (
        "no option of `attnbench attn` sets half_width as in the measurement"
    )


@pytest.fixture
def db(tmp_path: Path) -> str:
    """Run 1 measured one case on another computer."""
    case = attn("q512")
    with Store.open(tmp_path / "r.db") as store:
        store_run(store, {case: timed(case, 1e-3)}, label="main")
    return str(tmp_path / "r.db")


def repro(db: str, asked: str) -> Result:
    return CliRunner().invoke(cli, ["repro", asked, "--db", db])


def test_of_a_run_the_command_is_what_was_typed(db: str) -> None:
    found = repro(db, "1")
    assert found.stdout == "attnbench attn\n"
    assert 'note: run 1 "main", attn, 1 outcome, measured' in found.stderr


def test_what_differs_here_is_told_beside_the_command(db: str) -> None:
    with Store.open(db) as store:
        (measured,) = store.measurements([1])
    for key in (measured.uuid, measured.uuid[:8], measured.case_key[:12]):
        found = repro(db, key)
        assert found.stdout.startswith("attnbench attn --backend sdpa --batch-specs q512")
        assert "note: sdpa q512: 1.00 ms in round 1 of run 1, measured" in found.stderr
        assert "note: differs here: source trunk@aaaaaaaaaaaa -> " in found.stderr
        assert "note: differs here: machine Intel(R) Xeon(R) Processor -> " in found.stderr


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("9", "there is no run 9; the last runs are: 1"),
        ("abcdef01", "abcdef01: no measurement and no case has that key; accepted are a run's"),
        ("abc", "abc: no measurement and no case has that key"),
        ("main", "main: no measurement and no case has that key"),
    ],
)
def test_what_names_nothing_is_refused(db: str, asked: str, message: str) -> None:
    found = repro(db, asked)
    assert (found.exit_code, found.stdout) == (2, "")
    assert message in found.stderr


BARE = Method("cudagraph")
ABSORBED = replace(mla("8q1kv1k"), scope="kernel")
LAYER = "between nothing -> layer, of decodes; --between nothing measures as then"


@pytest.mark.parametrize(
    ("words", "spec", "methods", "said"),
    [
        ("attn", "8q1kv1k", [BARE], [LAYER]),
        ("study winner-map", "8q1kv1k", [BARE], [LAYER]),
        ("selfcheck", "8q1kv1k", [BARE], ["between nothing -> layer, of decodes"]),
        ("attn", "q512", [BARE], []),
        ("attn --between nothing", "8q1kv1k", [BARE], []),
        ("attn", "8q1kv1k", [replace(BARE, between="auto")], []),
        ("attn --cache both", "8q1kv1k", [BARE, replace(BARE, cache="hot")], []),
        ("attn --verify-timer", "8q1kv1k", [BARE, Method("kernel")], []),
    ],
)
def test_a_default_that_has_changed_is_said_beside_a_command(
    tmp_path: Path, words: str, spec: str, methods: list[Method], said: list[str]
) -> None:
    plan = Plan((attn(spec, "flash", "bf16"),), tuple(methods))
    with Store.open(tmp_path / "old.db") as store:
        run = replace(
            store.run(start(store, command=words.split(maxsplit=1)[0])),
            argv=("attnbench", *words.split()),
        )
    assert changes_since(run, plan.as_facts()) == said


def test_an_older_method_is_said_beside_a_command(tmp_path: Path) -> None:
    with Store.open(tmp_path / "old.db") as store:
        run = store.run(start(store))
    facts = [{"timer": "cudagraph", "cache": "cold", "version": 1}]
    assert changes_since(run, {"methods": facts}) == ["method 1 -> 3"]


@pytest.mark.parametrize(
    ("cases", "version", "said"),
    [
        ([ABSORBED], 2, ["layer method 2 -> 3"]),
        ([ABSORBED], 1, ["layer method 1 -> 3"]),
        ([ABSORBED], 3, []),
        ([attn("8q1kv1k")], 2, []),
        ([attn("8q1kv1k")], 1, ["layer method 1 -> 2"]),
    ],
)
def test_an_older_layer_is_said_beside_a_command(
    tmp_path: Path, cases: list[Case], version: int, said: list[str]
) -> None:
    with Store.open(tmp_path / "old.db") as store:
        run = store.run(start(store))
    facts = replace(BARE, between="auto", layer_version=version).as_facts()
    plan = {"methods": [facts], "cases": [each.canonical() for each in cases]}
    assert changes_since(run, plan) == said


def test_a_run_that_repro_shows_has_its_changes(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with Store.open(path) as store:
        start(store, plan=Plan((attn("8q1kv1k", "flash", "bf16"),), (BARE,)).as_facts())
    shown = CliRunner().invoke(cli, ["repro", "1", "--db", str(path)])
    assert f"note: differs here: {LAYER}" in shown.stderr


@pytest.mark.parametrize(
    ("words", "study", "missing"),
    [
        ("study mine.yaml --decision rules.yaml", {"name": "mine"}, "mine.yaml"),
        ("study traffic --trace day.csv", {"name": "traffic-day"}, "day.csv"),
        ("study traffic --trace=day.csv", {"name": "traffic-day"}, "day.csv"),
        ("study numsplits --backend flashmla", {"name": "numsplits"}, None),
        ("attn --label mine.yaml", None, None),
    ],
)
def test_a_file_that_a_study_needs_and_that_is_not_here_is_said(
    tmp_path: Path, words: str, study: dict[str, str] | None, missing: str | None
) -> None:
    path = tmp_path / "old.db"
    command, *others = words.split()
    with Store.open(path) as store:
        start(store, command=command, words=others, plan={"study": study})
    shown = CliRunner().invoke(cli, ["repro", "1", "--db", str(path)])
    found = [line for line in shown.stderr.splitlines() if "missing; " in line]
    there_is = "`attnbench study show 1` prints the study as a file"
    said = [f"note: differs here: {missing} -> missing; {there_is}"] if missing else []
    assert found == said
