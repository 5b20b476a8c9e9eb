"""Sweeps: what braces expand to, what is dropped, what is refused and how."""

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnbench.specs.batch import Batch, BatchSpecError, parse_batch_spec
from attnbench.specs.sweep import expand_sweep, expand_sweeps, expand_values

VALUES = "1,2,4 or 1..16 or 1..16:5 to add 5 or 1k..32k:x2 to double"
ACCEPTED = f"accepted: braces with {VALUES}, e.g. {{1,2}}q1kv{{1k..32k:x2}}"


def specs(batches: list[Batch]) -> list[str]:
    return [str(batch) for batch in batches]


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("q{1,2,4}kv1k", ["q1kv1k", "q2kv1k", "q4kv1k"]),
        ("q{1..5}ks8k", ["q1kkv8k", "q2kkv8k", "q3kkv8k", "q4kkv8k", "q5kkv8k"]),
        (
            "q{1..3,10..20:5}ks32k",
            ["q1kkv32k", "q2kkv32k", "q3kkv32k", "q10kkv32k", "q15kkv32k", "q20kkv32k"],
        ),
        ("q{1..2}s{1..2}k", ["q1kv1k", "q1kv2k", "q2kv1k", "q2kv2k"]),
        ("{1..10:x3}q2", ["q2", "3q2", "9q2"]),
        ("q{1..10:4}", ["q1", "q5", "q9"]),
        ("q{512..2k:x2}", ["q512", "q1k", "q2k"]),
        ("q{1k..3K:1k}", ["q1k", "q2k", "q3k"]),
        ("q{5..5}", ["q5"]),
        ("q{0.5k}", ["q512"]),
        ("{2,1}q1kv4_q{3,2}", ["2q1kv4_q3", "2q1kv4_q2", "q1kv4_q3", "q1kv4_q2"]),
    ],
)
def test_braces_expand_to_a_product_with_the_first_outermost(
    text: str, expanded: list[str]
) -> None:
    assert specs(expand_sweep(text, pytest.fail)) == expanded


@pytest.mark.parametrize(
    ("text", "count"),
    [("q{1..16,17..64:2,65..128:4}kv1k", 56), ("{1..64:x2}q1kv{1k..32k:x2}", 42)],
)
def test_a_sweep_expands_to_so_many(text: str, count: int) -> None:
    assert len(expand_sweep(text, pytest.fail)) == count


@pytest.mark.parametrize("text", ["q2k", "2q2k_32q1kv1k"])
def test_a_spec_without_braces_is_itself(text: str) -> None:
    assert expand_sweep(text, pytest.fail) == [parse_batch_spec(text)]


def test_sweeps_follow_one_another() -> None:
    assert specs(expand_sweeps(["q{1,2}", "8q1kv1k"], pytest.fail)) == ["q1", "q2", "8q1kv1k"]


def test_no_sweeps_are_no_batches() -> None:
    assert expand_sweeps([]) == []


axes = st.lists(
    st.lists(st.integers(1, 99), min_size=1, max_size=4, unique=True), min_size=1, max_size=3
)


@given(axes)
def test_without_duplicates_the_number_is_the_product(axes: list[list[int]]) -> None:
    # One segment an axis, so that no two combinations are alike.
    text = "_".join(f"q{i}kv1{{{','.join(map(str, axis))}}}" for i, axis in enumerate(axes, 1))
    assert len(expand_sweep(text, pytest.fail)) == prod(len(axis) for axis in axes)


@pytest.mark.parametrize(
    ("texts", "kept", "note"),
    [
        (
            ["q{1,2,1}"],
            ["q1", "q2"],
            "dropped 'q1', which executes like another batch",
        ),
        (
            ["q{1..3}", "q{2..4}"],
            ["q1", "q2", "q3", "q4"],
            "dropped 2 batches that execute like others, the first of them 'q2'",
        ),
        (
            ["q1kv1k_2q1kv1k", "3q1s1k"],
            ["3q1kv1k"],
            "dropped '3q1kv1k', which executes like another batch",
        ),
        (
            ["q2k_8q1kv1k", "8q1kv1k_q2k"],
            ["q2k_8q1kv1k"],
            "dropped '8q1kv1k_q2k', which executes like another batch",
        ),
    ],
)
def test_duplicates_are_dropped_with_one_note(texts: list[str], kept: list[str], note: str) -> None:
    notes: list[str] = []
    assert specs(expand_sweeps(texts, notes.append)) == kept
    assert notes == [note]
    assert specs(expand_sweeps(texts)) == kept


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("8s1k", "'8s1k' is an older spelling of '8q1kv1k'"),
        ("{8}s1k", "'8s1k' is an older spelling of '8q1kv1k'"),
        (
            "{1,2,4}s1k",
            "'1s1k' is an older spelling of 'q1kv1k', and so on for 3 specs of '{1,2,4}s1k'",
        ),
    ],
)
def test_an_older_spelling_is_noted_once_a_sweep(text: str, note: str) -> None:
    notes: list[str] = []
    expand_sweep(text, notes.append)
    assert notes == [note]


@pytest.mark.parametrize(
    ("text", "what", "problem", "caret"),
    [
        ("q{1,{2,3}}", "'q{1,{2,3}}'", "braces do not nest", "    ^"),
        ("q{1_q{2}", "'q{1_q{2}'", "braces do not nest", "     ^"),
        ("q{1", "'q{1'", "no '}' closes this '{'", " ^"),
        ("q1}", "'q1}'", "no '{' opens this '}'", "  ^"),
        ("q{1}}", "'q{1}}'", "no '{' opens this '}'", "    ^"),
        ("q{}", "'' in 'q{}'", "a size is missing", "  ^"),
        ("q{1,}", "'1,' in 'q{1,}'", "a size is missing after ','", "    ^"),
        ("q{1,,2}", "'1,,2' in 'q{1,,2}'", "a size is missing after ','", "    ^"),
        ("q{1..}", "'1..' in 'q{1..}'", "a size is missing after '..'", "     ^"),
        ("q{1..4:}", "'1..4:' in 'q{1..4:}'", "a size is missing after ':'", "       ^"),
        ("q{1..4:x}", "'1..4:x' in 'q{1..4:x}'", "a size is missing after 'x'", "        ^"),
        ("q{a}", "'a' in 'q{a}'", "a size is missing", "  ^"),
        ("q{1 ,2}", "'1 ,2' in 'q{1 ,2}'", "unexpected ' ' after '1'", "   ^"),
        ("q{0..4}", "'0..4' in 'q{0..4}'", "a size of 0; the least is 1", "  ^"),
        ("q{1..4:0}", "'1..4:0' in 'q{1..4:0}'", "a size of 0; the least is 1", "       ^"),
        ("q{1.5}", "'1.5' in 'q{1.5}'", "a size that is not whole", "  ^"),
        (
            "q{4..1}",
            "'4..1' in 'q{4..1}'",
            "a range that ends at 1, before its start 4",
            "     ^",
        ),
        (
            "q{1..4:x1}",
            "'1..4:x1' in 'q{1..4:x1}'",
            "a factor of 1 never ends; the least is 2",
            "        ^",
        ),
        ("q{1,1..1024m}", "'1,1..1024m' in 'q{1,1..1024m}'", "over 100000 values", "    ^"),
        (
            "{1..1k}q{1..1k}",
            "'{1..1k}q{1..1k}'",
            "over 100000 specs in one sweep",
            "        ^",
        ),
    ],
)
def test_a_sweep_that_cannot_be_read_points_at_the_character(
    text: str, what: str, problem: str, caret: str
) -> None:
    with pytest.raises(BatchSpecError) as refusal:
        expand_sweep(text)
    assert str(refusal.value).splitlines() == [
        f"cannot read {what}: {problem}",
        f"  {text}",
        f"  {caret}",
        ACCEPTED,
    ]


def test_an_expanded_spec_that_is_no_batch_names_its_sweep() -> None:
    with pytest.raises(BatchSpecError) as refusal:
        expand_sweep("8q1kv1k_q{1,4}kv2")
    assert str(refusal.value).splitlines() == [
        "cannot read 'q4kv2' in '8q1kv1k_q4kv2': kv 2 is under q 4, and kv counts the new "
        "tokens too",
        "  8q1kv1k_q4kv2",
        "              ^",
        "accepted: [COUNT]qLEN[kvLEN[~SPREAD]], sizes with k or m, segments joined by '_', "
        "e.g. 2q2k_32q1kv1k",
        "expanded from '8q1kv1k_q{1,4}kv2'",
    ]


def test_a_spec_without_braces_is_refused_as_itself() -> None:
    with pytest.raises(BatchSpecError) as expanded:
        expand_sweep("q4kv2")
    with pytest.raises(BatchSpecError) as parsed:
        parse_batch_spec("q4kv2")
    assert str(expanded.value) == str(parsed.value)


def test_too_many_requests_together_are_refused() -> None:
    with pytest.raises(BatchSpecError) as refusal:
        expand_sweeps(["q1", "1000000q{1..20}"])
    assert str(refusal.value) == (
        "'1000000q{1..20}' brings the batches to over 2000000 requests; fewer or smaller "
        "batches are accepted, e.g. {1..64:x2}q1kv1k"
    )


@given(st.lists(st.sampled_from([*"{},.:xqkv_0129", "..", "q1", "{1,2}"]), max_size=12))
def test_any_text_expands_or_is_refused_cleanly(parts: list[str]) -> None:
    try:
        assert expand_sweep("".join(parts))
    except BatchSpecError as refusal:
        line, caret = str(refusal).split("\n")[1:3]
        assert 2 <= caret.index("^") <= len(line)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("4", [4]),
        ("1,2,4", [1, 2, 4]),
        ("1..64:x2", [1, 2, 4, 8, 16, 32, 64]),
        ("1..4,64k", [1, 2, 3, 4, 65536]),
        ("4,1..5", [4, 1, 2, 3, 5]),
    ],
)
def test_a_list_of_numbers_is_expanded(text: str, values: list[int]) -> None:
    assert expand_values(text) == values


@pytest.mark.parametrize(
    ("text", "problem", "caret"),
    [
        ("", "a size is missing", "^"),
        ("1;2", "unexpected ';' after '1'", " ^"),
        ("1,-2", "a size is missing after ','", "  ^"),
        ("1..1m", "over 100000 values", "^"),
    ],
)
def test_a_list_that_cannot_be_read_points_at_the_character(
    text: str, problem: str, caret: str
) -> None:
    with pytest.raises(BatchSpecError) as refusal:
        expand_values(text)
    assert str(refusal.value).splitlines() == [
        f"cannot read '{text}': {problem}",
        f"  {text}",
        f"  {caret}",
        f"accepted: {VALUES}",
    ]
