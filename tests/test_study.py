"""Studies as real processes: what they measure, store, conclude and refuse."""

import json
import math
import re
import shutil
import signal
from pathlib import Path

import pytest

from attnbench.db.store import Store
from attnbench.studies.conclusion import Conclusion
from tests.conftest import (
    Attnbench,
    Ran,
    Refused,
    own_environment,
    run_attnbench,
    started,
    wait_for_first_outcome,
)
from tests.own_kernels.mla.paced import TRUTH
from tests.stored_results import attn as stored_case
from tests.stored_results import store_run, timed

TINY = """\
    num_q_heads: 2
    kv_lora_rank: 32
    qk_nope_head_dim: 16
    qk_rope_head_dim: 8
    v_head_dim: 16
"""
CROSSOVER = (
    """\
question: At which length does the paced prefill beat the paced decode?
family: mla
answer:
  crossover: {resolution: 1.1}
sweep:
  - backend: paced
    batch_size: 1
    q_len: [2, 4, 6, 8, 12, 16, 18, 22, 24, 28, 32, 40, 48, 64]
    context: 16
"""
    + TINY
)
QUICK = ["--device", "cpu", "--repeats", "7", "--num-layers", "2"]
ATTN = """\
question: Which backend is faster?
family: attn
answer:
  contrast: {field: backend, pairs: [[naive, sdpa]], by: [q_len]}
sweep:
  - {backend: [naive, sdpa], q_len: [8, 16], num_q_heads: 4, num_kv_heads: 2, head_dim: 16}
"""


@pytest.fixture
def crossover(tmp_path: Path) -> str:
    path = tmp_path / "paced.yaml"
    path.write_text(CROSSOVER)
    return str(path)


@pytest.fixture
def attn(tmp_path: Path) -> str:
    path = tmp_path / "faster.yaml"
    path.write_text(ATTN)
    return str(path)


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("answered")
    (folder / "faster.yaml").write_text(ATTN)
    files = ["--output-json", "out.json", "--plots", "pictures", "--plot-format", "svg"]
    words = ["study", "faster.yaml", *QUICK, *files]
    return Ran.of(folder, *words)


def conclusion(folder: Path, run: int = 1) -> Conclusion:
    with Store.open(folder / "attnbench.db", create=False) as store:
        facts = store.conclusion(run)
        assert facts is not None
        return Conclusion.from_facts(facts)


def ends(found: Conclusion) -> tuple[float, float]:
    """Where decode surely wins and from where prefill does, of the only curve.

    On a busy machine noise may hide either.
    """
    columns = found.tables[0].columns
    low, high = columns["low"][0], columns["high"][0]
    return (0.0 if low == "-" else float(low)), (math.inf if high == "-" else float(high))


def num_cases(folder: Path, run: int = 1) -> int:
    with Store.open(folder / "attnbench.db", create=False) as store:
        return len({each.case_key for each in store.measurements([run])})


def test_a_crossover_is_found_with_fewer_cells_than_the_sweep_has(
    attnbench: Attnbench, tmp_path: Path, crossover: str
) -> None:
    found = attnbench("study", crossover, *QUICK)
    assert found.returncode == 0, found.stderr
    low, high = ends(conclusion(tmp_path))
    assert low <= TRUTH <= high
    assert num_cases(tmp_path) < 2 * 14


def test_a_study_that_was_interrupted_goes_on_where_it_was(
    environment: dict[str, str], attnbench: Attnbench, tmp_path: Path
) -> None:
    path = tmp_path / "paced.yaml"
    path.write_text(ATTN.replace("sdpa", "paced"))
    files = ["--decision", "best.json", "--output-csv", "rounds.csv"]
    long, never = ["study", str(path), *QUICK, *files], {"PACED_MS": "3600000"}
    with started(tmp_path, environment | never, *long) as process:
        wait_for_first_outcome(process, tmp_path)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert process.returncode == 130
    again = f"attnbench study {path} --output-csv rounds.csv --decision best.json --resume 1"
    assert f"continue with: {again}\n" in told
    done = attnbench(*again.split()[1:], *QUICK)
    assert done.returncode == 0, done.stderr
    assert "run 1 on " in done.stderr
    assert done.stderr.count("round ") == 11
    assert "4 of 4 cases have a time" in done.stdout
    assert (tmp_path / "best.json").exists()
    assert (tmp_path / "rounds.csv").exists()


def test_another_study_does_not_resume_a_run(
    attnbench: Attnbench, tmp_path: Path, attn: str, answered: Ran
) -> None:
    shutil.copy(answered.folder / "attnbench.db", tmp_path)
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        from attnbench.records import RunStatus

        store.finish_run(1, RunStatus.INTERRUPTED)
    other = tmp_path / "other.yaml"
    other.write_text(ATTN)
    refused = attnbench("study", str(other), "--resume", *QUICK)
    assert refused.returncode == 2
    assert "that had --study faster, not other" in refused.stderr
    pilot = attnbench("study", attn, "--quick", "--resume", *QUICK)
    assert pilot.returncode == 2
    assert "that had --quick False, not True" in pilot.stderr


def test_a_contrast_ends_in_a_conclusion_that_is_stored(answered: Ran) -> None:
    done, folder = answered.done, answered.folder
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("faster: Which backend is faster?")
    assert "sdpa against naive:" in done.stdout
    assert "4 of 4 cases have a time" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    stored = conclusion(folder)
    assert stored.answer[0].startswith("sdpa against naive:")
    assert len(json.loads((folder / "out.json").read_text())) == 12
    again = run_attnbench(folder, own_environment(folder), "study", "conclude", "1")
    shown, plot, _ = done.stdout.partition("plot: ")
    assert plot
    assert again.stdout.strip() == shown.strip()


def test_what_was_found_is_drawn(answered: Ran) -> None:
    (picture,) = (answered.folder / "pictures").glob("*.svg")
    assert f"plot: pictures/{picture.name}" in answered.done.stdout
    assert picture.read_text().lstrip().startswith("<?xml")


def test_options_of_the_family_go_before_the_file_and_are_told(
    attnbench: Attnbench, attn: str
) -> None:
    done = attnbench(
        *["study", attn, *QUICK, "--batch-specs", "2q1kv20", "q4", "--rounds", "1"],
        *["--backend", "naive", "sdpa", "--quick"],
    )
    assert done.returncode == 0, done.stderr
    assert "batch: 2q1kv20 q4 (command line, before the file)" in done.stdout
    assert "a pilot: the sweep is thinned" in done.stdout


def test_a_dry_run_foresees_and_measures_nothing(
    attnbench: Attnbench, tmp_path: Path, crossover: str, attn: str
) -> None:
    done = attnbench("study", crossover, "--device", "cpu", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "a search starts with them" in " ".join(done.stdout.split())
    assert "an exhaustive sweep has 28 cases at 3 rounds" in " ".join(done.stdout.split())
    assert not (tmp_path / "attnbench.db").exists()
    plain = attnbench("study", attn, "--device", "cpu", "--dry-run", "--rounds", "2")
    assert "4 of 4 cases can run on" in plain.stdout
    assert "2 rounds of each" in plain.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rounds", "0"], "Invalid value for '--rounds'"),
        (["--thresholds", "4"], "No such option '--thresholds'"),
        (["--batch-specs", "q8x"], "Invalid value for '--batch-specs'"),
        (["--backend", "sdpa"], "--backend sdpa: faster compares values of backend"),
    ],
)
def test_options_are_checked_as_the_family_checks_them(
    refused: Refused, attn: str, options: list[str], message: str
) -> None:
    assert message in refused("study", attn, *options)


def test_an_error_names_the_command_that_was_typed(refused: Refused, attn: str) -> None:
    assert refused("study", attn, "--modle", "x").splitlines()[:2] == [
        "Usage: attnbench study run [OPTIONS] NAME|FILE [FAMILY OPTIONS]...",
        "Try 'attnbench study run --help' for help.",
    ]


@pytest.mark.usefixtures("own_kernels")
def test_a_crossover_chooses_its_thresholds_itself(refused: Refused, crossover: str) -> None:
    message = refused("study", crossover, "--thresholds", "1", "4")
    assert "--thresholds: paced chooses the thresholds itself" in message


def test_hardware_that_cannot_answer_is_told_in_a_sentence(
    attnbench: Attnbench, tmp_path: Path
) -> None:
    path = tmp_path / "gpu.yaml"
    path.write_text(ATTN.replace("family: attn", "family: mla").replace(
        "[naive, sdpa]", "[flashmla, torch-mha]"
    ).replace("pairs: [[naive, sdpa]]", "pairs: [[flashmla, torch-mha]]").replace(
        "num_q_heads: 4, num_kv_heads: 2, head_dim: 16", TINY.strip().replace("\n   ", ",")
    ))  # fmt: skip
    done = attnbench("study", str(path), *QUICK, "--rounds", "1")
    text = " ".join(done.stdout.split())
    assert "torch-mha against flashmla: not answered here: needs an NVIDIA GPU" in text
    assert "refused: 2 of flashmla: needs an NVIDIA GPU" in text


@pytest.mark.parametrize(
    "words", [["mla", "--backend", "flashmla"], ["study", "reorder-threshold"]], ids=" ".join
)
def test_where_nothing_can_run_a_dry_run_forecasts_no_time(
    attnbench: Attnbench, words: list[str]
) -> None:
    text = " ".join(attnbench(*words, "--device", "cpu", "--dry-run").stdout.split())
    assert re.search(r" 0 of \d+ cases can run on [^;]+\. Nothing was measured\.$", text)


def test_a_dry_run_of_a_study_says_a_reason_once(attnbench: Attnbench) -> None:
    text = " ".join(
        attnbench("study", "reorder-threshold", "--device", "cpu", "--dry-run").stdout.split()
    )
    assert re.search(r"refused: \d+ of flashmla, flashattn_mla: needs an NVIDIA GPU", text)


def test_list_and_show_tell_what_there_is(attnbench: Attnbench) -> None:
    listed = attnbench("study", "list")
    for name in ("numsplits (mla, also cutlass_numsplits)", "reorder-threshold", "fp8-kv"):
        assert name in listed.stdout
    shown = attnbench("study", "show", "cache-layout")
    assert "field: layout" in shown.stdout
    unknown = attnbench("study", "no-such-study")
    assert unknown.returncode == 2
    assert "no study and no file is called 'no-such-study'" in unknown.stderr


def test_the_study_of_a_run_is_shown_and_measured_without_its_file(
    attnbench: Attnbench, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(ATTN)
    assert attnbench("study", "mine.yaml", *QUICK).returncode == 0
    (tmp_path / "mine.yaml").unlink()
    told = attnbench("repro", "1").stderr
    assert "mine.yaml -> missing; `attnbench study show 1` prints the study as a file" in told
    (tmp_path / "mine.yaml").write_text(attnbench("study", "show", "1").stdout)
    assert "missing" not in attnbench("repro", "1").stderr
    assert attnbench("study", "mine.yaml", *QUICK, "--dry-run").returncode == 0


def test_only_a_study_is_concluded(refused: Refused, tmp_path: Path) -> None:
    with Store.open(tmp_path / "attnbench.db") as store:
        store_run(store, {stored_case("q8"): timed(stored_case("q8"), 1e-3)})
    for command in ("conclude", "show"):
        message = refused("study", command, "1")
        assert "run 1 is a run of `attn`, not of a study" in message
        assert "'99999999999' is over 2147483647" in refused("study", command, "9" * 11)


def test_a_config_is_imported_and_runs(attnbench: Attnbench, tmp_path: Path) -> None:
    config = tmp_path / "suite.yaml"
    config.write_text("backends: [naive, sdpa]\nbatch_specs: [q8, 2s20]\nrepeats: 3\n")
    done = attnbench("study", "import", str(config), "--output", "mine.yaml")
    assert done.returncode == 0, done.stderr
    assert "note: dropped repeats: sampling ends when" in done.stderr
    run = attnbench("study", "mine.yaml", *QUICK, "--rounds", "1", "--head-dim", "16",
                    "--num-q-heads", "2", "--num-kv-heads", "2")  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "quickest in single rounds" in run.stdout
