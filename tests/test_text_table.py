"""Text tables: what gives way where the terminal is narrow, and what never does."""

import pytest

from attnbench.reporting.text_table import Column, names, text_table, words, wrapped
from attnbench.shorten import shorten
from tests.markdown import unpadded


def test_the_longest_text_is_shortened_in_its_middle() -> None:
    columns = [
        words("spec", ["64q1kv4k_32q1kv8k_q2k", "q1k"]),
        words("backend", ["flashinfer", "sdpa"]),
        Column("us", ["123456789", "1"]),
    ]
    expected = """\
spec           backend            us
-------------  ----------  ---------
64q1kv..k_q2k  flashinfer  123456789
q1k            sdpa                1"""
    assert text_table(columns, width=36) == expected


@pytest.mark.parametrize(
    ("width", "row", "left_out"),
    [
        (26, "64q1kv4k_q2  9     1     2", ""),
        (25, "64q1kv4k_q2  9     1", "roof"),
        (19, "64q1kv4k_q2  9", "GB/s, roof"),
        (13, "64q1..k_q2  9", "GB/s, roof"),
    ],
)
def test_optional_columns_give_way_from_the_last_before_texts_do_and_are_named(
    width: int, row: str, left_out: str
) -> None:
    columns = [
        words("spec", ["64q1kv4k_q2"]),
        Column("n", ["9"]),
        Column("GB/s", ["1"], optional=True),
        Column("roof", ["2"], optional=True),
    ]
    _, _, shown, *below = text_table(columns, width=width).splitlines()
    assert shown == row
    assert " ".join(" ".join(below).split()) == (
        f"a wider terminal also shows: {left_out}" if left_out else ""
    )


def test_different_texts_are_not_shortened_to_the_same() -> None:
    texts = ["flashmla_sparse", "flashattn_mla_sparse"]
    expected = """\
fastest        us
-------------  --
flashm..parse   9
flasha..parse  10"""
    columns = [words("fastest", texts), Column("us", ["9", "10"])]
    assert text_table(columns, width=10) == expected


@pytest.mark.parametrize(
    ("width", "row"),
    [
        (34, "my long label  flashattn_mla     7"),
        (30, "my l..bel  flashattn_mla     7"),
        (28, "my long label  flashattn_mla"),
        (18, "my ..bel  flashattn_mla"),
    ],
)
def test_a_spare_column_is_left_out_and_a_name_is_never_shortened(width: int, row: str) -> None:
    columns = [
        words("label", ["my long label"]),
        names("backend", ["flashattn_mla"]),
        Column("GB/s", ["7"], spare=True),
    ]
    assert text_table(columns, width=width).splitlines()[2].split() == row.split()


def test_of_the_columns_left_out_those_return_that_fit_beside_the_others() -> None:
    columns = [
        names("best", ["flash"]),
        names("unclear", ["flashinfer-fa2; flashinfer"], spare=True),
        names("next", ["triton"], spare=True),
    ]
    shown = text_table(columns, width=30).splitlines()
    assert shown[2:] == ["flash  triton", "a wider terminal also shows:", "  unclear"]


def test_a_list_of_names_stays_whole() -> None:
    columns = [names("ties", ["flashinfer; flash"]), words("spec", ["64q1kv4k_q2"])]
    assert text_table(columns, width=20).splitlines()[-1] == "flashinfer; flash  64q.._q2"


@pytest.mark.parametrize("width", range(8, 24))
def test_a_number_and_its_percent_sign_stay_on_one_line(width: int) -> None:
    lines = wrapped("busy 99.9 % of 12 s", width).splitlines()
    assert any("99.9 %" in line for line in lines)
    assert max(map(len, lines)) <= width
    assert " ".join(lines) == "busy 99.9 % of 12 s"


def test_numbers_are_never_shortened() -> None:
    columns = [Column("first\ncount", ["1234567890"]), Column("b", ["1234567890"])]
    expected = """\
     first
     count           b
----------  ----------
1234567890  1234567890"""
    assert text_table(columns, width=10) == expected


def test_markdown_escapes_what_would_end_a_cell() -> None:
    expected = """\
| a b | n |
| --- | ---: |
| x\\|y | 1 |"""
    table = text_table([words("a\nb", ["x|y"]), Column("n", ["1"])], "markdown")
    assert unpadded(table) == expected


@pytest.mark.parametrize(
    ("text", "width", "shortened"),
    [("abcdefgh", 8, "abcdefgh"), ("abcdefgh", 7, "abc..gh"), ("abcdefgh", 3, "a..")],
)
def test_shortening_keeps_both_ends(text: str, width: int, shortened: str) -> None:
    assert shorten(text, width) == shortened
