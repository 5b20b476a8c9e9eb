"""Input that cannot be meant is one sentence and status 2, whatever it is."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click import BadParameter
from click.testing import CliRunner, Result

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.imports.file import read_file, store_file
from tests.stored_results import fill, start
from tests.test_options import plan

WIDE = chr(0xFF11)  # another digit 1
HUGE = "9" * 20
SURROGATE = "\udcff"
ATTN = ["attn", "--backend", "naive", "--batch-specs", "q8", "--device", "cpu", "--dry-run"]


@pytest.fixture
def attnbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command in this process, in a folder whose database has one run."""
    monkeypatch.chdir(tmp_path)
    with Store.open("attnbench.db") as store:
        fill(store, start(store))
    return lambda *words: CliRunner().invoke(cli, list(words))


def refused(result: Result) -> str:
    """The message of a command that ended with status 2."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--timeout", "3000000"], "'3e+06' is not a time limit; expected seconds from 0.001 to"),
        (["--prepare-timeout", "inf"], "'inf' is not a time limit"),
        (["--timeout", "1e-320"], "is not a time limit"),
        (["--timeout", f"6{WIDE}"], f"'6{WIDE}' is not a finite number"),
        (["--rounds", HUGE], f"'{HUGE}' is over 1073741824, the largest accepted"),
        (["--rounds", "9" * 5000], "is over 1073741824"),
        (["--rounds", WIDE], f"'{WIDE}' is not a whole number of at least 1, e.g. 16"),
        (["--rounds", "1_0"], "'1_0' is not a whole number"),
        (["--seed", "18446744073709551616"], "is over 4611686018427387904"),
        (["--block-size", "1" + "0" * 30], "is over 1073741824"),
        (["--softcap", "nan"], "'nan' is not a finite number above 0"),
        (["--softcap", "inf"], "'inf' is not a finite number above 0"),
        (["--label", SURROGATE], "has characters that cannot be shown"),
        (["--db", "x" * 300], "File name too long"),
    ],
)
def test_an_option_names_what_it_read_and_what_it_accepts(
    words: list[str], message: str, attnbench: Callable[..., Result]
) -> None:
    found = refused(attnbench(*ATTN, *words))
    assert message in found
    assert words[0] in found


@pytest.mark.parametrize(
    "words",
    [
        ["runs", "delete", HUGE],
        ["runs", "relabel", WIDE, "x"],
        ["study", "conclude", HUGE],
        ["runs", "relabel", "1", SURROGATE],
        ["history", "--case", SURROGATE],
        ["repro", HUGE],
        ["report", "--run", HUGE],
        ["report", "--where", f"label={SURROGATE}"],
        ["report", "--output", "nowhere/table"],
        ["report", "--html", "nowhere/page.html"],
    ],
    ids=" ".join,
)
def test_what_no_run_and_no_file_can_be_is_refused(
    words: list[str], attnbench: Callable[..., Result]
) -> None:
    assert "Error: " in refused(attnbench(*words))


@pytest.mark.parametrize("command", ["report", "attn", "doctor"])
def test_a_working_directory_that_was_deleted_is_said(
    command: str, attnbench: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "the working directory was deleted; change to another" in refused(attnbench(command))


def test_the_number_of_a_run_to_resume_is_bounded(attnbench: Callable[..., Result]) -> None:
    found = refused(attnbench("attn", "--device", "cpu", "--resume", HUGE, "--wait"))
    assert f"--resume '{HUGE}' is not a run number" in found


STUDY = "question: Which?\nfamily: attn\nanswer: {winner: {}}\nsweep:\n- "


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("{dtype: [fp32, fp99]}", "mine.yaml:5: dtype: no dtype is called 'fp99'; known are bf16"),
        ("{kv_cache_dtype: yes}", "mine.yaml:5: kv_cache_dtype: no kv_cache_dtype is called 'yes'"),
        ("{layout: XYZ}", "no layout is called 'XYZ'; known are NHD, HND"),
        ("{softcap: .nan}", "softcap: expected a number above 0"),
        ("{sinks: maybe}", "sinks: expected true or false"),
        ("{dtype: 2024-99-99}", "dtype: '2024-99-99' cannot be read: month must be in 1..12"),
        ("{dtype: !foo fp32}", "dtype: 'fp32' cannot be read"),
        ("{dtype: !!python/object/apply:os.system fp32}", "dtype: 'fp32' cannot be read"),
        ("{window: " + "9" * 5000 + "}", "a size over 1024m"),
        ("{[1, 2]: 3}", "mine.yaml:5: a list or keys in place of a key: unknown key"),
        ("{knobs: {num_splits: 1..x}}", "mine.yaml:5: num_splits: cannot read '1..x'"),
        ("[" * 20_000 + "]" * 20_000, "mine.yaml:1: lists and keys are nested too deep"),
        ("{batch_size: 1..64, kv_len: 1..8192}", "524288 batches are over 100000"),
        ("{batch: '{a}q1kv{b}', a: 1..100000, b: 1..100000}", "10000000000 batches are over"),
    ],
)
def test_a_study_names_its_file_line_and_key(
    item: str, message: str, attnbench: Callable[..., Result]
) -> None:
    Path("mine.yaml").write_text(STUDY + item)
    found = refused(attnbench("study", "./mine.yaml", "--device", "cpu", "--dry-run"))
    assert message in found


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{at}: &a{at} [{','.join([f'*a{at - 1}'] * 9)}]\n" for at in range(1, 9)
)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BOMB + "backends: *a8", "over 100000 values with all anchors written out"),
        ("&a [*a]", "over 100000 values with all anchors written out"),
        ("backends: 5", "backends: expected a name or a list of names"),
        ("batch_specs: 5", "batch_specs: expected a list of texts"),
        ("model: [1]", "model: expected keys such as num_q_heads"),
        ("parameter_sweep: [1]", "parameter_sweep: expected the keys param_name and values"),
        (
            "model_parameter_sweep: {param_name: x}",
            "model_parameter_sweep: expected the key values",
        ),
        ("batch_spec_ranges: [{template: 'q{n}', n: {start: a, stop: 3}}]", "expected a list of"),
        ("batch_spec_ranges: 5", "batch_spec_ranges: expected a list of templates"),
        ("description: 2024-99-99", "this cannot be read: month must be in 1..12"),
        ("description: !!python/object/apply:os.system x", "this cannot be read"),
        (
            "sparse_mla_dense_mha_max_seq_len: 016384",
            "sparse_mla_dense_mha_max_seq_len: expected a whole number",
        ),
        ("sparse_mla_mha_variants: 5", "sparse_mla_mha_variants: expected a list of texts"),
        ("? [1, 2]\n: 3", "this cannot be read"),
        ("[" * 20_000, "lists and keys are nested too deep"),
    ],
)
def test_a_config_of_the_suite_names_the_key(
    config: str, message: str, attnbench: Callable[..., Result]
) -> None:
    Path("config.yaml").write_text(config)
    found = refused(attnbench("study", "import", "config.yaml"))
    assert message in found
    assert found.count("config.yaml") == 1


COLUMNS = {
    "routine": "BatchDecodeWithPagedKVCacheWrapper",
    "median_time": "0.1",
    "backend": "fa2",
    "s_qo": "1",
    "s_kv": "1024",
    "batch_size": "8",
    "num_qo_heads": "32",
    "num_kv_heads": "8",
    "head_dim_qk": "128",
    "page_size": "16",
    "q_dtype": "torch.bfloat16",
    "kv_dtype": "torch.bfloat16",
}


def _csv(*rows: dict[str, str]) -> str:
    return "\n".join([",".join(COLUMNS), *(",".join(row.values()) for row in rows)])


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": "1.9"},
        {"batch_size": "1e20"},
        {"batch_size": "100000000"},
        {"s_kv": "1000.7"},
        {"page_size": "16.5"},
        {"page_size": "-16"},
        {"num_qo_heads": "1e308"},
        {"median_time": "1e-320"},
        {"median_time": "nan"},
        {"backend": ""},
    ],
    ids=str,
)
def test_a_row_whose_number_cannot_be_meant_is_listed_not_rounded(
    change: dict[str, str], attnbench: Callable[..., Result]
) -> None:
    rows = [COLUMNS, COLUMNS | change]
    Path("foreign.csv").write_text(_csv(*rows), encoding="utf-8-sig")
    found = attnbench("import", "foreign.csv")
    assert found.exit_code == 0, found.output
    assert next(iter(change)) in " ".join(found.output.split())
    with Store.open("attnbench.db") as store:
        assert [str(each.case.batch) for each in store.measurements([2])] == ["8q1kv1k"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 20_000 + "]" * 20_000, "is not JSON"),
        (",".join(COLUMNS) + "\n" + "x" * 200_000, "is not CSV"),
    ],
    ids=["deep", "large field"],
)
def test_a_file_that_cannot_be_read_is_refused(
    content: str, message: str, attnbench: Callable[..., Result]
) -> None:
    Path("foreign").write_text(content)
    assert message in refused(attnbench("import", "foreign"))


@pytest.mark.parametrize(
    "words",
    [
        ["attn", "--ray="],
        ["attn", "--gpu="],
        ["attn", "--backend="],
        ["attn", "--resume="],
        ["attn", "--label="],
        ["report", "--run="],
        ["report", "--pivot="],
        ["diff", "--head=1", "--base="],
        ["diff", "--base=1", "--head=1", "--across="],
        ["diff", "--base=1", "--head=1", "--explain="],
    ],
    ids=" ".join,
)
def test_an_unset_variable_of_a_shell_is_no_value(
    words: list[str], attnbench: Callable[..., Result]
) -> None:
    message = refused(attnbench(*words))
    assert f"Invalid value for '{words[-1].rstrip('=')}'" in message
    assert "the value is empty" in message or "the label '' names nothing" in message


def test_a_text_that_no_database_stores_is_escaped(attnbench: Callable[..., Result]) -> None:
    config = {"batch_spec": "q8", "backend": "\ud800", "head_dim": 64}
    config |= {"num_q_heads": 4, "num_kv_heads": 4}
    Path("foreign.json").write_text(json.dumps([{"config": config, "mean_time": 1e-3}]))
    assert attnbench("import", "foreign.json").exit_code == 0
    assert "\\ud800" in attnbench("report").output


def test_a_file_from_a_pipe_is_read_once_and_known_by_its_content(
    attnbench: Callable[..., Result],
) -> None:
    for time in ("0.1", "0.1", "0.2"):
        row = COLUMNS | {"median_time": time}
        os.mkfifo("pipe")
        Thread(target=Path("pipe").write_text, args=[_csv(row)]).start()
        assert attnbench("import", "pipe").exit_code == 0
        Path("pipe").unlink()
    with Store.open("attnbench.db") as store:
        assert len(store.runs()) == 3  # one was there, and one came twice


class Cut(list[Any]):
    """Rows during which somebody presses Ctrl-C."""

    def __iter__(self) -> Iterator[Any]:
        yield self[0]
        raise KeyboardInterrupt


@pytest.mark.usefixtures("attnbench")
def test_half_a_file_is_not_a_run() -> None:
    Path("foreign.csv").write_text(_csv(COLUMNS))
    file = read_file(Path("foreign.csv"), None)
    cut = replace(file, results=Cut(file.results))
    with Store.open("attnbench.db") as store:
        with pytest.raises(KeyboardInterrupt):
            store_file(store, cut, argv=[], label=None, gpu=None)
        assert [run.number for run in store.runs()] == [1]


@pytest.mark.parametrize(
    ("words", "most"),
    [("import", 64), ("traffic", 256), ("study", 16), ("study show", 16), ("study traffic", 256)],
)
def test_a_file_without_end_is_refused(
    words: str, most: int, attnbench: Callable[..., Result]
) -> None:
    option = ["--trace"] if words == "study traffic" else []
    found = refused(attnbench(*words.split(), *option, "/dev/zero"))
    assert f"/dev/zero is over {most} MiB long" in found


@pytest.mark.parametrize(
    "line",
    [
        "prefill-trtllm --batch-sizes 1..64 --seq-lens 1..8192",
        "prefill-trtllm --batch-sizes 1m --seq-lens 1 2 3",
        "attn --batch-specs q1kv{1..30000} --block-size 16 32",
        "attn --batch-specs {1..15800:50}q1_{1..15800:50}q1",
        "attn --batch-specs 1000000q1kv{1k,1k,1k,1k}",
    ],
    ids=str,
)
def test_products_are_counted_before_they_are_made(line: str) -> None:
    with pytest.raises((UsageError, BadParameter)) as caught:
        plan(*line.split())
    assert any(
        limit in str(caught.value) for limit in ("2000000 requests", "100000 are", "50000 are")
    )


def test_a_database_with_another_programs_bytes_in_it_is_one_sentence(
    attnbench: Callable[..., Result],
) -> None:
    for column, table in (("facts", "machine"), ("canonical", '"case"')):
        for content in ("{x", '{"a": 1}', "[]"):
            with closing(sqlite3.connect("attnbench.db")) as connection, connection:
                (kept,) = connection.execute(f"select {column} from {table}").fetchone()
                connection.execute(f"update {table} set {column} = ?", (content,))
            found = attnbench("report")
            with closing(sqlite3.connect("attnbench.db")) as connection, connection:
                connection.execute(f"update {table} set {column} = ?", (kept,))
            assert "attnbench.db is damaged" in refused(found), (table, content)


def test_a_merge_names_the_database_that_is_broken(attnbench: Callable[..., Result]) -> None:
    with Store.open("other.db") as store:
        fill(store, start(store))
    with closing(sqlite3.connect("other.db")) as connection:
        connection.execute("drop table sentinel")
    found = refused(attnbench("db", "merge", "other.db"))
    assert found.startswith("Error: other.db: no such table")


@pytest.mark.parametrize(
    "damage",
    [
        'delete from "case"',
        "update measurement set durations = '{x'",
        "update run set argv = '{x'",
    ],
)
def test_a_merge_of_damaged_rows_is_one_sentence_that_names_their_database(
    attnbench: Callable[..., Result], damage: str
) -> None:
    with Store.open("other.db") as store:
        fill(store, start(store))
    with closing(sqlite3.connect("other.db")) as connection, connection:
        connection.execute(damage)
    found = refused(attnbench("db", "merge", "other.db"))
    assert found.startswith("Error: other.db is damaged (")
