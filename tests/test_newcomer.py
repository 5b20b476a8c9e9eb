"""What a new user meets first: files, folders and options that do not fit together."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.reporting.csv_text import csv_text
from attnbench.results.where import parse_condition
from tests.conftest import SMALL
from tests.stored_results import attn, store_run, timed

CASE = attn("q512")
# A process of root without the right to write where the mode forbids it.
AS_USER = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search,-fowner"]
AS_USER += ["--inh-caps", "-all"]


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A database with one run."""
    with Store.open(tmp_path / "one.db") as store:
        store_run(store, {CASE: timed(CASE, 1e-3, 1e-3)}, label="main")
    return tmp_path / "one.db"


def test_a_database_in_a_folder_that_cannot_be_written_is_read(db: Path) -> None:
    if os.geteuid() == 0 and not shutil.which(AS_USER[0]):
        pytest.skip("root may write anywhere, and setpriv is not installed")
    prefix = AS_USER if os.geteuid() == 0 else []
    folder = db.parent / "artefact"
    folder.mkdir()
    shutil.copy(db, folder / "x.db")
    (folder / "x.db").chmod(0o444)
    folder.chmod(0o555)
    command = [*prefix, sys.executable, "-m", "attnbench", "report", "--db", str(folder / "x.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert "sdpa" in done.stdout


@pytest.mark.parametrize("other", ["absent.db", "notes.txt"])
def test_a_merge_of_what_cannot_be_read_leaves_no_database(tmp_path: Path, other: str) -> None:
    (tmp_path / "notes.txt").write_text("notes, not a database, and longer than its header is\n")
    target = tmp_path / "new.db"
    done = invoke("db", "merge", str(tmp_path / other), "--db", str(target))
    assert done.exit_code == 2
    assert other in done.stderr
    assert not target.exists()


@pytest.mark.parametrize("command", [["study"], ["study", "import"]])
def test_a_study_that_is_not_utf8_is_named(tmp_path: Path, command: list[str]) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(b"question: \xff\xfe")
    done = invoke(*command, str(path))
    assert done.exit_code == 2
    assert f"{path}: byte 10 is not UTF-8 text" in done.stderr


@pytest.mark.parametrize("seconds", ["1e7", "1e30", "0"])
def test_a_limit_that_no_clock_can_wait_for_is_refused(seconds: str) -> None:
    done = invoke("attn", "--timeout", seconds, "--dry-run")
    assert done.exit_code == 2
    assert "is not a time limit; expected seconds from 0.001 to 1e+06" in done.stderr


def test_a_dry_run_of_a_resumed_run_is_refused() -> None:
    done = invoke("attn", *SMALL, "--resume", "3", "--dry-run")
    assert done.exit_code == 2
    assert "--resume continues a stored one; leave one of them out" in done.stderr


def test_the_database_may_stand_before_the_command(db: Path) -> None:
    assert invoke("--db", str(db), "report").stdout == invoke("report", "--db", str(db)).stdout
    assert invoke(f"--db={db}", "runs", "relabel", "1", "pr").exit_code == 0
    assert '"pr"' in invoke("--db", str(db), "runs", "relabel", "1", "pr").stdout


@pytest.mark.parametrize("words", [["--db"], ["--db=h200.db"], ["--db", "report"]])
def test_a_database_without_a_command_says_what_is_missing(words: list[str]) -> None:
    found = invoke(*words)
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr.endswith(
        "Error: --db FILE stands before a command, e.g. attnbench --db h200.db report\n"
    )


def test_help_of_the_whole_needs_no_database() -> None:
    assert invoke("--db", "h200.db", "--help").stdout == invoke("--help").stdout


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@x", "\t=1"])
def test_a_spreadsheet_runs_no_text_as_a_formula(text: str) -> None:
    assert csv_text(text) == f"'{text}"


@pytest.mark.parametrize("value", ["main", "a=b", "", None, -1.5, 3])
def test_other_cells_stay_as_they_are(value: object) -> None:
    assert csv_text(value) == value


def test_a_label_in_an_export_is_no_formula(db: Path) -> None:
    assert invoke("runs", "relabel", "1", "=cmd()", "--db", str(db)).exit_code == 0
    exported = invoke("report", "--format", "csv", "--db", str(db)).stdout
    assert next(csv.DictReader(exported.splitlines()))["label"] == "'=cmd()"


def test_a_dry_run_says_what_each_row_was_asked_and_groups_refusals() -> None:
    done = invoke(
        *[
            "cache-write",
            "--num-heads",
            "2",
            "--head-size",
            "16",
            "--device",
            "cpu",
            "--num-tokens",
            "2",
        ],
        *["--layout", "NHD", "HND", "--kv-cache-dtype", "auto", "fp8", "--dry-run"],
    )
    assert done.exit_code == 0, done.output
    rows = [line for line in done.stdout.splitlines() if " torch " in line]
    assert len(rows) == len(set(rows)) == 4
    refused = [line for line in done.stdout.splitlines() if "needs an NVIDIA GPU" in line]
    assert len(refused) == 1
    assert refused[0].startswith("cuda, flashinfer, triton (12 cases): ")


def test_two_equals_signs_mean_the_same_as_one() -> None:
    assert parse_condition("backend==sdpa") == parse_condition("backend=sdpa")
    assert parse_condition("kv_len>=4k") != parse_condition("kv_len=4k")


def test_options_after_a_studys_name_take_precedence_over_its_file() -> None:
    shown = invoke("study", "run", "--help").stdout
    assert "take precedence over what its file says" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("attn --backend sdap", "no attn backend is called 'sdap' (did you mean sdpa?)"),
        ("attn --backend cutlass_mla", "an mla backend is: attnbench mla --backend cutlass_mla"),
        ("attn --backend sdpa,naive", "(separate names by spaces: --backend sdpa naive)"),
        ("attn --batch-specs q8,q16", "unexpected ',' after 'q8'; several specs are separate"),
        ("attn --num-q-heads 16 32", "unexpected extra argument (32); options shown with ... in"),
        ("attn q512", "batches follow --batch-specs, e.g. --batch-specs q2k 8q1kv1k"),
        ("attn --seed 99999999999999999999", "is over 4611686018427387904"),
        ("attn --output-csv -", "standard output has the table; name a file"),
        ("attn --cache hot --num-layers 3", "--cache hot repeats one; leave one of them out"),
        ("study numsplits --plots /etc/passwd/x", "/etc/passwd cannot be written; name another"),
        ("ab -- attn --label x", "name them with --base-label and --head-label"),
        ("atn", "No such command 'atn'. Did you mean attn?"),
        ("study reorder", "(did you mean reorder-threshold?)"),
        ("study run --backend flash numsplits", "comes first: attnbench study NAME --backend ..."),
        ("study numsplits --quick --exhaustive", "--quick thins the sweep and --exhaustive widens"),
        ("report --output nodir/x", "nodir does not exist; create it first: mkdir -p nodir"),
    ],
)
def test_a_mistake_is_answered_with_what_was_meant(
    words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = invoke(*words.split())
    assert found.exit_code == 2
    assert message in " ".join(found.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_a_backend_that_a_study_file_misspells_is_found_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        "question: Which?\nfamily: attn\nanswer: {winner: {}}\nsweep:\n"
        "- {backend: [sdpa, naiv], batch: [q8]}\n"
    )
    found = invoke("study", str(file), "--dry-run")
    assert found.exit_code == 2
    assert f"{file}:5: backend: no attn backend is called 'naiv' (did you mean naive?)" in (
        found.stderr
    )


def test_a_delete_that_nobody_confirms_names_the_option_that_does(db: Path) -> None:
    found = invoke("runs", "delete", "1", "--db", str(db))
    assert found.exit_code == 1
    assert "nothing was deleted; --yes deletes without asking" in found.stderr
    with Store.open(db) as store:
        assert len(store.runs()) == 1


@pytest.mark.parametrize("group", ["study", "runs", "db"])
def test_groups_describe_their_commands_in_whole_sentences(group: str) -> None:
    _, _, commands = invoke(group, "--help").stdout.partition("Commands:")
    assert commands.rstrip().endswith(".")
    assert "..." not in commands
