"""`--where`: what a condition is, which fields it can ask for, and what it keeps."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.records import Status
from attnbench.results.selection import select
from attnbench.results.where import Condition, parse_condition
from tests.stored_results import Results, attn, failed, mla, store_run, timed

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,12}", fullmatch=True)
VALUES = st.text(st.characters(codec="ascii", exclude_characters="~"), min_size=1).filter(
    lambda text: text == text.strip() and text[0] not in "=<>!"
)
NUMBERS = st.integers(1, 10**6) | st.floats(1e-9, 1e9)


def results() -> Results:
    """Four cases that differ in family, backend, batch, a knob and what became of them."""
    decode, prefill = attn("8q1kv4k"), attn("q512", "naive", sdpa_backend="math")
    mixed, wrong = mla("q64_4q1kv256", threshold=4), attn("2q1kv1k")
    return {
        decode: timed(decode, 1e-3, labels=("outliers",), resolved={"layout": "dense"}),
        prefill: timed(prefill, 2e-3, resolved={"block_size": 16}),
        mixed: timed(mixed, 3e-3),
        wrong: failed(Status.INCORRECT, "cosine 0.7"),
    }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.open(tmp_path / "where.db")
    store_run(store, results(), label="main")
    return store


@pytest.mark.parametrize(
    ("conditions", "specs"),
    [
        (["family=mla"], ["4q1kv256_q64"]),
        (["backend=sdpa"], ["8q1kv4k", "2q1kv1k"]),
        (["backend=SDPA", "kv_len>=4096"], ["8q1kv4k"]),
        (["kv_len=4k"], ["8q1kv4k"]),
        (["kv_len<1k"], ["q512", "4q1kv256_q64"]),
        (["q_len>1"], ["q512", "4q1kv256_q64"]),
        (["num_requests=5"], ["4q1kv256_q64"]),
        (["num_tokens!=8"], ["q512", "4q1kv256_q64", "2q1kv1k"]),
        (["batch=q64_4q1kv256"], ["4q1kv256_q64"]),
        (["batch~^8q"], ["8q1kv4k"]),
        (["threshold=4"], ["4q1kv256_q64"]),
        (["threshold!=4"], ["8q1kv4k", "q512", "2q1kv1k"]),
        (["sdpa_backend=math"], ["q512"]),
        (["layout=dense"], ["8q1kv4k"]),
        (["block_size<=16"], ["q512"]),
        (["num_kv_heads=8"], ["8q1kv4k", "q512", "2q1kv1k"]),
        (["status=ok", "family=attn"], ["8q1kv4k", "q512"]),
        (["status!=ok"], ["2q1kv1k"]),
        (["labels=outliers"], ["8q1kv4k"]),
        (["labels~^out"], ["8q1kv4k"]),
        (["round=1", "sinks=false"], ["8q1kv4k", "q512", "4q1kv256_q64", "2q1kv1k"]),
        (
            ["label=main", "commit=aaaaaaa", "gpu~xeon", "dtype=fp32", "scope=layer"],
            ["4q1kv256_q64"],
        ),
        (["timer=cudagraph"], []),
        ([" kv_len >= 4096 "], ["8q1kv4k"]),
    ],
)
def test_only_what_fulfils_all_conditions_is_kept(
    store: Store, conditions: list[str], specs: list[str]
) -> None:
    where = [parse_condition(text) for text in conditions]
    kept = select(store, "main", where=where).measurements
    assert [str(each.case.batch) for each in kept] == specs


@pytest.mark.parametrize(
    ("digits", "is_found"), [("a" * 40, True), ("a" * 7, True), ("a" * 6, False), ("a" * 3, False)]
)
def test_a_commit_may_be_shortened_to_7_digits(store: Store, digits: str, is_found: bool) -> None:
    where = [parse_condition(f"commit={digits}")]
    assert bool(select(store, "main", where=where).measurements) is is_found


def test_what_ran_counts_over_what_was_asked_for(tmp_path: Path) -> None:
    case = replace(attn("q512"), block_size=16)
    with Store.open(tmp_path / "where.db") as store:
        store_run(store, {case: timed(case, 1e-3, resolved={"block_size": 64})})
        kept = select(store, "latest", where=[parse_condition("block_size=64")]).measurements
    assert [each.case for each in kept] == [case]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backend", "'backend' is not a condition; expected FIELD, one of = != < <= > >= ~, and a"),
        ("=3", "'=3' is not a condition"),
        ("kv_len>=", "'kv_len>=' is not a condition"),
        ("kv_len=>4", "kv_len is a number, e.g. 'kv_len=4096' or 4k"),
        ("kv_len>=many", "--where kv_len>=many: kv_len is a number, e.g. 'kv_len>=4096' or 4k"),
        ("backend<3", "< orders numbers, and backend is a word; accepted for words are = != ~"),
        ("backend~(", "not a regular expression"),
        ("batch=8x1", "--where batch=8x1"),
        (
            "kvlen=4",
            "no measurement has a field 'kvlen' (did you mean kv_len?); the fields are backend, "
            "batch, block_size",
        ),
    ],
)
def test_what_cannot_be_asked_is_said(store: Store, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        select(store, "main", where=[parse_condition(text)])
    assert message in str(caught.value)


@pytest.mark.parametrize(("text", "number"), [("n=4k", 4 * 1024), ("n=2M", 2 * 1024**2)])
def test_a_number_may_have_a_size(text: str, number: int) -> None:
    assert parse_condition(text).holds({"n": number})


@given(NAMES, st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "="]), VALUES)
def test_a_condition_reads_back_as_it_is_written(name: str, operator: str, value: str) -> None:
    condition = Condition(name, operator, value)
    assert parse_condition(str(condition)) == condition


@given(NUMBERS, NUMBERS)
def test_of_a_number_each_operator_is_the_negation_of_its_opposite(x: float, y: float) -> None:
    def holds(operator: str) -> bool:
        return parse_condition(f"n{operator}{y!r}").holds({"n": x})

    assert holds("=") is not holds("!=")
    assert holds("<") is not holds(">=")
    assert holds(">") is not holds("<=")
    assert holds("<=") is (holds("<") or holds("="))
