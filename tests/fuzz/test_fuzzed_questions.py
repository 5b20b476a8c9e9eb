"""Questions to a database: references, conditions, keys, margins."""

from pathlib import Path

import pytest
from hypothesis import strategies as st

from attnbench.db.store import Store
from tests.fuzz.command import run
from tests.fuzz.inputs import NUMBERS, ODD, edited, fuzz, odd_text, typed
from tests.stored_results import CPU, H200, attn, store_run, timed

REFS = ["latest", "run:1", "label:main", "gpu:H200", "branch:trunk", "commit:aaaaaaa", "2"]
WHERE = ["backend=naive", "batch_size>=8", "kv_len~1k", "batch=8q1kv1k", "layout!=NHD", "x=1"]
FIELDS = ["backend", "batch", "layout", "dtype", "num_splits"]
ANY = odd_text()


def _option(name: str, right: list[str]) -> st.SearchStrategy[list[str]]:
    value = st.one_of(st.sampled_from(right), edited(right, ODD), st.sampled_from(NUMBERS), ANY)
    value = value.map(typed)
    return st.lists(value, min_size=1, max_size=2).map(lambda values: [name, *values])


QUESTIONS: dict[str, list[st.SearchStrategy[list[str]]]] = {
    "report": [
        _option("--run", REFS),
        _option("--where", WHERE),
        _option("--format", ["table", "csv", "json"]),
        _option("--best", FIELDS),
        _option("--host", [""]),
    ],
    "diff --base 1": [
        _option("--head", REFS),
        _option("--where", WHERE),
        _option("--margin", ["1%", "0.5", "2 %"]),
        _option("--explain", ["1", "a"]),
    ],
    "diff --across backend --base naive --head sdpa": [
        _option("--where", WHERE),
        _option("--margin", ["1%"]),
        _option("--run", REFS),
    ],
    "history": [_option("--where", WHERE), _option("--case", ["a", "0123abcd"])],
    "repro": [ANY.map(lambda key: [key])],
    "runs relabel": [st.tuples(ANY, ANY).map(list)],
    "study conclude": [ANY.map(lambda number: [number])],
    "db merge": [ANY.map(lambda path: [path])],
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose database has two runs on each of two machines."""
    monkeypatch.chdir(tmp_path)
    with Store.open("attnbench.db") as store:
        for machine, label in ((H200, "main"), (H200, None), (CPU, None), (CPU, "é")):
            cases = {
                attn("8q1kv1k", backend): timed(attn("8q1kv1k", backend), 1e-5, 2e-5)
                for backend in ("naive", "sdpa")
            }
            store_run(store, cases, label=label, machine=machine)
    return tmp_path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_answered_or_refused_in_a_sentence(question: str) -> None:
    parts = st.lists(st.one_of(QUESTIONS[question]), min_size=1, max_size=2)

    def check(line: list[list[str]]) -> None:
        run(*question.split(), *(word for words in line for word in words))

    fuzz(parts, check, 70)
