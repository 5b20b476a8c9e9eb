"""Files of studies, of vLLM's and FlashInfer's suites, and databases."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import strategies as st

from attnbench.compat.suite_config import imported
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.families import FAMILIES
from attnbench.studies.cases import cells_of
from attnbench.studies.file import read_study
from attnbench.studies.request import built_in
from tests.faults.test_bad_input import COLUMNS
from tests.fuzz.command import assert_sentence, run
from tests.fuzz.inputs import ODD, edited, fuzz
from tests.stored_results import fill, start
from tests.test_import_command import MLA, vllm_row
from tests.test_study_import import CONFIGS, SUITE

YAML = [*ODD, "\n  - ", "\nq_len: ", "&a ", "*a", "!!python/name:os.system ", "!x ", "2024-99-99"]
YAML += ["kv_len", "1..9", "1..100k", "{a: 1}", "? ", "<<: ", "| ", "backend", "knobs: {x: [1]}"]


def test_a_study_is_planned_or_refused_with_its_file() -> None:
    texts = [each.text for each in built_in().values() if each.name != "reorder-threshold"]

    def check(text: str) -> None:
        try:
            study = read_study(text, "mine", "mine.yaml", FAMILIES)
            cells_of(study, "cpu")
        except UsageError as error:
            assert_sentence(str(error))

    fuzz(edited(texts, YAML), check, 600)


def test_a_config_of_the_suite_is_a_study_or_refused_with_its_file() -> None:
    texts = [SUITE, *(yaml.safe_dump(config) for config, _, _ in CONFIGS.values())]

    def check(text: str) -> None:
        try:
            study, dropped = imported(text, "config.yaml")
        except UsageError as error:
            assert_sentence(str(error))
        else:
            assert study
            assert all(dropped)

    fuzz(edited(texts, YAML), check, 500)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("tool", ["vllm.json", "vllm.csv", "flashinfer.csv"])
def test_a_result_file_is_imported_and_reported_or_refused(tool: str, here: Path) -> None:
    rows = [vllm_row(), vllm_row("FLASH_ATTN_MLA", "8q1s1k", **MLA)]
    texts = {
        "vllm.json": json.dumps(rows, default=str),
        "vllm.csv": "backend,batch_spec,num_layers,mean_time\nFLASH_ATTN,8q1s1k,10,1e-5\n",
        "flashinfer.csv": f"{','.join(COLUMNS)}\n{','.join(COLUMNS.values())}\n",
    }

    def check(text: str) -> None:
        (here / tool).write_text(text, encoding="utf-8", errors="surrogatepass")
        for file in here.glob("i.db*"):
            file.unlink()
        model = ["--model", "llama3-8b"] if tool == "vllm.csv" else []
        if run("import", tool, *model, "--db", "i.db").exit_code == 0:
            run("report", "--db", "i.db")

    fuzz(edited([texts[tool]], ODD), check, 120)


@pytest.mark.parametrize(
    "words", [["report"], ["runs"], ["history", "--where", "backend=naive"]], ids=" ".join
)
def test_a_damaged_database_is_read_or_refused(words: list[str], here: Path) -> None:
    with Store.open(here / "whole.db") as store:
        fill(store, start(store))
    whole = (here / "whole.db").read_bytes()

    def check(edits: list[tuple[int, int]]) -> None:
        content = bytearray(whole)
        for at, byte in edits:
            content[at % len(content)] = byte
        (here / "damaged.db").write_bytes(content)
        for file in here.glob("damaged.db-*"):
            file.unlink()
        run(*words, "--db", "damaged.db")

    edit = st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255))
    fuzz(st.lists(edit, min_size=1, max_size=40), check, 60)
