"""Batch specs: what is read, what is refused and how, and the two texts of a batch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnbench.errors import UsageError
from attnbench.specs.batch import (
    Batch,
    BatchSpecError,
    Kind,
    Request,
    format_batch_spec,
    get_batch_stats,
    parse_batch_spec,
)
from attnbench.specs.scanner import MAX_SIZE

ACCEPTED = (
    "accepted: [COUNT]qLEN[kvLEN[~SPREAD]], sizes with k or m, segments joined by '_', "
    "e.g. 2q2k_32q1kv1k"
)


def requests() -> st.SearchStrategy[Request]:
    length = st.one_of(st.integers(1, 20), st.integers(1, 9).map(lambda n: n * 1024))
    length |= st.integers(1, MAX_SIZE)
    return st.tuples(length, length).map(lambda pair: Request(min(pair), max(pair)))


def batches() -> st.SearchStrategy[Batch]:
    group = st.tuples(st.integers(1, 4), requests())
    return st.lists(group, min_size=1, max_size=6).map(
        lambda groups: Batch(tuple(r for count, r in groups for _ in range(count)))
    )


def near_specs() -> st.SearchStrategy[str]:
    """Text made of the grammar's own parts, valid or not, and of what looks like them."""
    words = ("kv", "spec", "~sorted", "chunk", "00")
    part = st.sampled_from([*"qskvmKQ_.0123456789{},:~\n \u212a٣²", *words])
    return st.lists(part, max_size=12).map("".join)


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("q2k", [(1, Request(2048, 2048))]),
        ("q1ks2k", [(1, Request(1024, 2048))]),
        ("8q1s1k", [(8, Request(1, 1024))]),
        ("8q1kv1k", [(8, Request(1, 1024))]),
        ("q4s1k", [(1, Request(4, 1024))]),
        ("8q8s2k", [(8, Request(8, 2048))]),
        ("2q1k_32q1s1k", [(2, Request(1024, 1024)), (32, Request(1, 1024))]),
        (
            "4q2k_8q4s1k_64q1s2k",
            [(4, Request(2048, 2048)), (8, Request(4, 1024)), (64, Request(1, 2048))],
        ),
        ("q007", [(1, Request(7, 7))]),
        ("2q3_1q3", [(3, Request(3, 3))]),
        ("q1kkv2k", [(1, Request(1024, 2048))]),
        ("q1kv2k", [(1, Request(1, 2048))]),
        ("q1mkv2m", [(1, Request(1024**2, 2 * 1024**2))]),
        ("8Q1KV1K", [(8, Request(1, 1024))]),
        ("q1.5k", [(1, Request(1536, 1536))]),
        ("q2.0kv3.00", [(1, Request(2, 3))]),
        ("q0.00000095367431640625m", [(1, Request(1, 1))]),
        ("q1kv1024m", [(1, Request(1, MAX_SIZE))]),
        ("1000000q1", [(1_000_000, Request(1, 1))]),
    ],
)
def test_a_spec_is_read(text: str, groups: list[tuple[int, Request]]) -> None:
    assert parse_batch_spec(text, pytest.fail).groups() == groups


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("8s1k", "8q1kv1k"),
        ("2q1k_32s1k", "2q1k_32q1kv1k"),
        ("2q2k_q4kv1k_32s1k", "2q2k_q4kv1k_32q1kv1k"),
        ("spec4s1k", "q4kv1k"),
        ("8spec8s2k", "8q8kv2k"),
        ("4q2k_spec8s1k_64s2k", "4q2k_q8kv1k_64q1kv2k"),
    ],
)
def test_an_older_spelling_is_read_with_one_note(text: str, canonical: str) -> None:
    notes: list[str] = []
    assert str(parse_batch_spec(text, notes.append)) == canonical
    assert notes == [f"'{text}' is an older spelling of '{canonical}'"]
    assert str(parse_batch_spec(text)) == canonical


@pytest.mark.parametrize(("text", "canonical"), [("chunk8q16k", "q16k"), ("2chunk4q8k", "2q8k")])
def test_a_dropped_chunk_size_is_told(text: str, canonical: str) -> None:
    notes: list[str] = []
    assert str(parse_batch_spec(text, notes.append)) == canonical
    assert notes == [
        f"'{text}' is an older spelling of '{canonical}' "
        "(a chunk size changes nothing and is dropped)"
    ]


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1q1s1", "q1"),
        ("q1024", "q1k"),
        ("q1m", "q1024k"),
        ("q1025", "q1025"),
        ("q1.5k", "q1536"),
        ("q2kv2", "q2"),
        ("q1kv1k_2q1s1k", "3q1kv1k"),
        ("q1kv1k_q2_q1kv1k", "q1kv1k_q2_q1kv1k"),
    ],
)
def test_a_batch_prints_its_canonical_spec(text: str, canonical: str) -> None:
    assert str(parse_batch_spec(text)) == canonical


REFUSALS = [
    # text, what cannot be read, the problem, the line shown, and its caret
    ("2qk_8q1kv1k", "'2qk' in '2qk_8q1kv1k'", "a size is missing after 'q'", "2qk_8q1kv1k", "  ^"),
    ("", "''", "there is no segment", "", "^"),
    ("_", "'' in '_'", "a segment is empty", "_", "^"),
    ("q1__q2", "'' in 'q1__q2'", "a segment is empty", "q1__q2", "   ^"),
    ("q1_", "'' in 'q1_'", "a segment is empty", "q1_", "   ^"),
    ("invalid", "'invalid'", "a count or 'q' should stand here", "invalid", "^"),
    ("-1q1s1k", "'-1q1s1k'", "a count or 'q' should stand here", "-1q1s1k", "^"),
    (" q1s1k", "' q1s1k'", "a count or 'q' should stand here", " q1s1k", "^"),
    ("8", "'8'", "'q' should follow the count", "8", " ^"),
    ("2kq1", "'2kq1'", "'q' should follow the count", "2kq1", " ^"),
    ("1.5q1", "'1.5q1'", "'q' should follow the count", "1.5q1", " ^"),
    ("0q1s1k", "'0q1s1k'", "a count of 0; the least is 1", "0q1s1k", "^"),
    ("q1_00q1", "'00q1' in 'q1_00q1'", "a count of 0; the least is 1", "q1_00q1", "   ^"),
    ("q", "'q'", "a size is missing after 'q'", "q", " ^"),
    ("qk", "'qk'", "a size is missing after 'q'", "qk", " ^"),
    ("q-1", "'q-1'", "a size is missing after 'q'", "q-1", " ^"),
    ("q.5k", "'q.5k'", "a size is missing after 'q'", "q.5k", " ^"),
    ("8s", "'8s'", "a size is missing after 's'", "8s", "  ^"),
    ("q1KV", "'q1KV'", "a size is missing after 'KV'", "q1KV", "    ^"),
    ("q0", "'q0'", "a size of 0; the least is 1", "q0", " ^"),
    ("q0s1k", "'q0s1k'", "a size of 0; the least is 1", "q0s1k", " ^"),
    ("q1s0", "'q1s0'", "a size of 0; the least is 1", "q1s0", "   ^"),
    ("q0.0k", "'q0.0k'", "a size of 0; the least is 1", "q0.0k", " ^"),
    ("q1.5", "'q1.5'", "a size that is not whole", "q1.5", " ^"),
    ("q1kv1.3k", "'q1kv1.3k'", "a size that is not whole", "q1kv1.3k", "    ^"),
    ("q1.k", "'q1.k'", "a digit is missing after '.'", "q1.k", "   ^"),
    ("q1025m", "'q1025m'", "a size over 1024m", "q1025m", " ^"),
    (
        "q4s2",
        "'q4s2'",
        "kv 2 is under q 4, and kv counts the new tokens too",
        "q4s2",
        "   ^",
    ),
    (
        "q1_q2ks1k",
        "'q2ks1k' in 'q1_q2ks1k'",
        "kv 1024 is under q 2048, and kv counts the new tokens too",
        "q1_q2ks1k",
        "       ^",
    ),
    (
        "spec4s2",
        "'spec4s2'",
        "kv 2 is under q 4, and kv counts the new tokens too",
        "spec4s2",
        "      ^",
    ),
    ("spec4", "'spec4'", "'s' should follow the number of new tokens", "spec4", "     ^"),
    ("chunk8s2", "'chunk8s2'", "'q' should follow the chunk size", "chunk8s2", "      ^"),
    ("q2g", "'q2g'", "unexpected 'g' after 'q2'", "q2g", "  ^"),
    ("q1s1k ", "'q1s1k '", "unexpected ' ' after 'q1s1k'", "q1s1k ", "     ^"),
    ("q1s1k\n", r"'q1s1k\n'", r"unexpected '\n' after 'q1s1k'", r"q1s1k\n", "     ^"),
    ("q{1,2}", "'q{1,2}'", "a size is missing after 'q'", "q{1,2}", " ^"),
    (
        "q٣",
        r"'q\u0663'",
        "a size is missing after 'q'; only the digits 0 to 9 are read",
        r"q\u0663",
        " ^",
    ),
    (
        "8q1kv1٣k",
        r"'8q1kv1\u0663k'",
        r"unexpected '\u0663' after '8q1kv1'; only the digits 0 to 9 are read",
        r"8q1kv1\u0663k",
        "      ^",
    ),
    ("q2\u212a", r"'q2\u212a'", r"unexpected '\u212a' after 'q2'", r"q2\u212a", "  ^"),
    ("é_q", r"'\xe9' in '\xe9_q'", "a count or 'q' should stand here", r"\xe9_q", "^"),
    ("q1_é_q", r"'\xe9' in 'q1_\xe9_q'", "a count or 'q' should stand here", r"q1_\xe9_q", "   ^"),
    (
        "99999999999q1s1",
        "'99999999999q1s1'",
        "over 1000000 requests in one batch",
        "99999999999q1s1",
        "^",
    ),
    ("1000001q1", "'1000001q1'", "over 1000000 requests in one batch", "1000001q1", "^"),
    (
        "600000q1_400001q2",
        "'400001q2' in '600000q1_400001q2'",
        "over 1000000 requests in one batch",
        "600000q1_400001q2",
        "         ^",
    ),
    (
        "9" * 5000 + "q1",
        f"'{'9' * 37}...'",
        "over 1000000 requests in one batch",
        "9" * 90 + "...",
        "^",
    ),
    *(
        (
            f"4q1kv1k~{word}",
            f"'4q1kv1k~{word}'",
            "'~' should be followed by lognormal, sorted or onelong",
            f"4q1kv1k~{word}",
            "        ^",
        )
        for word in ("", "even")
    ),
    ("2q1kv2m~sorted", "'2q1kv2m~sorted'", "a mean over 1m", "2q1kv2m~sorted", "     ^"),
    (
        "4q1k~sorted",
        "'4q1k~sorted'",
        "unexpected '~' after '4q1k'",
        "4q1k~sorted",
        "    ^",
    ),
    ("q" + "9" * 5000, f"'q{'9' * 36}...'", "a size over 1024m", f"q{'9' * 89}...", " ^"),
    (
        "q0." + "1" * 5000,
        f"'q0.{'1' * 34}...'",
        "a size that is not whole",
        f"q0.{'1' * 87}...",
        " ^",
    ),
    (
        "q1_" * 40 + "8q2kv_" + "q3_" * 40,
        f"'8q2kv' in '{'q1_' * 12}q...'",
        "a size is missing after 'kv'",
        f"..._{'q1_' * 13}8q2kv_{'q3_' * 14}q3...",
        " " * 48 + "^",
    ),
    (
        "q1_" * 40 + "q",
        f"'q' in '{'q1_' * 12}q...'",
        "a size is missing after 'q'",
        f"...1_{'q1_' * 29}q",
        " " * 93 + "^",
    ),
]


@pytest.mark.parametrize(("text", "what", "problem", "line", "caret"), REFUSALS)
def test_a_refusal_points_at_the_character(
    text: str, what: str, problem: str, line: str, caret: str
) -> None:
    with pytest.raises(BatchSpecError) as refusal:
        parse_batch_spec(text)
    assert str(refusal.value).splitlines() == [
        f"cannot read {what}: {problem}",
        f"  {line}",
        f"  {caret}",
        ACCEPTED,
    ]


def test_a_refusal_is_a_usage_error_and_a_value_error() -> None:
    for kind in (UsageError, ValueError):
        with pytest.raises(kind):
            parse_batch_spec("q")


@given(st.one_of(st.text(), near_specs()))
def test_any_text_is_read_or_refused_with_a_caret_under_the_text(text: str) -> None:
    try:
        batch = parse_batch_spec(text)
    except BatchSpecError as refusal:
        first, line, caret, last = str(refusal).split("\n")
        assert first.startswith("cannot read ")
        assert caret.strip() == "^"
        assert 2 <= caret.index("^") <= len(line) <= 100
        assert last == ACCEPTED
    else:
        assert len(batch) >= 1


@given(batches())
def test_every_batch_is_read_back_from_its_text(batch: Batch) -> None:
    again = parse_batch_spec(str(batch), pytest.fail)
    assert again == batch
    assert hash(again) == hash(batch)
    assert str(again) == str(batch)


@given(batches(), st.integers(1, 16))
def test_in_execution_order_every_threshold_cuts_a_prefix(batch: Batch, threshold: int) -> None:
    ordered = batch.in_execution_order()
    within = [r for r in batch if r.q_len <= threshold]
    assert [r for r in ordered if r.q_len <= threshold] == list(ordered)[: len(within)]
    assert sorted(within, key=lambda r: r.q_len) == list(ordered)[: len(within)]
    assert ordered.in_execution_order() == ordered


def test_execution_order_puts_decodes_first_and_merges_them() -> None:
    batch = parse_batch_spec("q1kv2k_q2k_4q1kv1k_q4kv1k_q1kv1k")
    assert str(batch.in_execution_order()) == "q1kv2k_5q1kv1k_q4kv1k_q2k"


def test_requests_of_a_segment_are_one_object() -> None:
    batch = parse_batch_spec("3q1kv1k")
    assert all(request is batch.requests[0] for request in batch)


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (Request(1, 1), Kind.DECODE),
        (Request(1, 1024), Kind.DECODE),
        (Request(2, 2), Kind.PREFILL),
        (Request(2048, 2048), Kind.PREFILL),
        (Request(2, 3), Kind.SPECDECODE),
        (Request(8, 1024), Kind.SPECDECODE),
        (Request(9, 1024), Kind.EXTEND),
    ],
)
def test_a_request_has_one_kind(request_: Request, kind: Kind) -> None:
    assert request_.kind() is kind
    classes = {
        Kind.DECODE: request_.is_decode,
        Kind.PREFILL: request_.is_prefill,
        Kind.EXTEND: request_.is_extend,
    }
    wide = Kind.EXTEND if kind is Kind.SPECDECODE else kind
    assert [kind for kind, holds in classes.items() if holds] == [wide]


def test_how_many_new_tokens_a_spec_decode_has_is_settable() -> None:
    assert Request(4, 1024).kind(spec_decode_max=3) is Kind.EXTEND
    assert Request(9, 1024).kind(spec_decode_max=9) is Kind.SPECDECODE
    assert format_batch_spec([Request(4, 1024)], spec_decode_max=3) == "1 extend (1xq4s1k)"
    assert get_batch_stats([Request(4, 1024)], spec_decode_max=3)["num_specdecode"] == 0


@pytest.mark.parametrize(("q_len", "kv_len"), [(0, 0), (0, 8), (-1, 8), (4, 2), (1, MAX_SIZE + 1)])
def test_lengths_that_make_no_request_are_refused(q_len: int, kv_len: int) -> None:
    with pytest.raises(BatchSpecError) as refusal:
        Request(q_len, kv_len)
    assert str(refusal.value) == (
        f"a request of q_len {q_len} and kv_len {kv_len}: kv_len counts the new tokens too, so "
        "1 <= q_len <= kv_len <= 1073741824 is needed, e.g. Request(q_len=1, kv_len=1024)"
    )


@pytest.mark.parametrize("count", [0, 1_000_001])
def test_a_batch_holds_one_to_a_million_requests(count: int) -> None:
    with pytest.raises(BatchSpecError) as refusal:
        Batch((Request(1, 1),) * count)
    assert str(refusal.value) == f"a batch of {count} requests: 1 to 1000000 are accepted"


@pytest.mark.parametrize(
    ("text", "human"),
    [
        ("2q2k_q4kv1k_32s1k", "2 prefill (2x2k), 1 specdecode (1xq4s1k), 32 decode (32x1k)"),
        ("2q2k_32q1s1k", "2 prefill (2x2k), 32 decode (32x1k)"),
        ("q4s1k_8q1s1k", "1 specdecode (1xq4s1k), 8 decode (8x1k)"),
        ("8q1s1k_q16s1k_q1k", "1 prefill (1x1k), 1 extend (1xq16s1k), 8 decode (8x1k)"),
        ("q1k_q100_q1k", "3 prefill (2x1k, 1x100)"),
        ("q9kv10_2q9kv1m", "3 extend (1xq9s10, 2xq9s1024k)"),
        ("q1", "1 decode (1x1)"),
    ],
)
def test_a_batch_is_described_for_people(text: str, human: str) -> None:
    assert format_batch_spec(parse_batch_spec(text)) == human


def test_a_plain_list_of_requests_is_described_too() -> None:
    requests = [Request(1, 1024), Request(2, 2)]
    assert format_batch_spec(requests) == "1 prefill (1x2), 1 decode (1x1k)"
    assert get_batch_stats(requests)["total_requests"] == 2


def test_stats_count_requests_and_tokens() -> None:
    assert get_batch_stats(parse_batch_spec("2q2k_q4kv1k_q16kv1k_32q1kv1k")) == {
        "total_requests": 36,
        "num_decode": 32,
        "num_prefill": 2,
        "num_extend": 2,
        "num_specdecode": 1,
        "total_tokens": 2 * 2048 + 4 + 16 + 32,
        "total_kv_cache": 2 * 2048 + 34 * 1024,
        "max_q_len": 2048,
        "max_kv_len": 2048,
        "avg_q_len": 4148 / 36,
        "avg_kv_len": 38912 / 36,
    }


def test_stats_of_nothing_are_zero() -> None:
    assert set(get_batch_stats([]).values()) == {0}


@given(batches())
def test_stats_agree_with_the_batch(batch: Batch) -> None:
    stats = get_batch_stats(batch)
    assert stats["total_requests"] == len(batch)
    assert stats["num_decode"] + stats["num_prefill"] + stats["num_extend"] == len(batch)
    assert stats["total_tokens"] == batch.num_tokens
    assert stats["total_kv_cache"] == batch.num_kv_tokens
    assert stats["max_q_len"] == batch.max_q_len
    assert stats["max_kv_len"] == batch.max_kv_len
    assert sum(request.context_len for request in batch) == batch.num_kv_tokens - batch.num_tokens
