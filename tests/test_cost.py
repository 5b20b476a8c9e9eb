"""Useful work, against a count by brute force and against published figures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnbench.families import cost
from attnbench.specs.batch import Request, parse_batch_spec
from attnbench.specs.case import Case, KvDtype
from attnbench.specs.cost import causal_pairs, latent_row_bytes, seen_kv_len
from attnbench.specs.shape import AttnShape, MlaShape


@given(st.integers(1, 40), st.integers(0, 40))
def test_causal_pairs_are_exact(q_len: int, context: int) -> None:
    counted = sum(context + i + 1 for i in range(q_len))
    assert causal_pairs(Request(q_len, q_len + context)) == counted


@given(st.integers(1, 40), st.integers(0, 40), st.integers(1, 90))
def test_pairs_and_keys_under_a_window_are_exact(q_len: int, context: int, window: int) -> None:
    seen = [
        range(max(0, context + i + 1 - window), context + i + 1) for i in range(q_len)
    ]  # of each query
    request = Request(q_len, q_len + context)
    assert causal_pairs(request, window) == sum(map(len, seen))
    assert seen_kv_len(request, window) == len(set().union(*seen))


def test_a_window_costs_its_pairs_and_the_keys_in_it() -> None:
    work = cost(attn("q1kv8k", window=1024), 0)
    assert work.flops == cost(attn("q1kv1k"), 0).flops
    assert work.bytes == cost(attn("q1kv1k"), 0).bytes


def attn(spec: str, shape: AttnShape = AttnShape(64, 8, 128), **fields: object) -> Case:  # noqa: B008
    return Case("attn", "sdpa", parse_batch_spec(spec), shape, "bf16", **fields)  # type: ignore[arg-type]


def mla(spec: str, heads: int = 128, **fields: object) -> Case:
    shape = MlaShape(heads)
    return Case("mla", "x", parse_batch_spec(spec), shape, "bf16", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "gflop", "megabytes"),
    [
        # The floors of an H200 in the field's notes: GFLOP and MB of GQA 64/8 x 128.
        ("q8k", 1099.6, 302),
        ("32q1kv4k", 4.3, 538),
        ("128q1kv4k", 17.2, 2152),
        ("32q4kv4k", 17.2, 541),
        ("2q2k_32q1kv1k", 138.6, 286),
    ],
)
def test_grouped_query_attention_costs_what_is_published(
    spec: str, gflop: float, megabytes: float
) -> None:
    work = cost(attn(spec), num_decode=0)
    assert work.flops / 1e9 == pytest.approx(gflop, rel=5e-3)
    assert work.bytes / 1e6 == pytest.approx(megabytes, rel=5e-3)


def test_a_causal_prefill_of_1_708_ms_is_644_tflops() -> None:
    assert cost(attn("q8k"), 0).flops / 1.708e-3 / 1e12 == pytest.approx(644, rel=2e-3)


@pytest.mark.parametrize(
    ("spec", "heads", "gflop", "megabytes"),
    [("32q1kv4k", 16, 4.6, 152), ("32q1kv4k", 128, 36.5, 160), ("128q2kv4k", 128, 292, 675)],
)
def test_absorbed_mla_costs_what_is_published(
    spec: str, heads: int, gflop: float, megabytes: float
) -> None:
    case = mla(spec, heads)
    work = cost(case, num_decode=len(case.batch))
    assert work.flops / 1e9 == pytest.approx(gflop, rel=1e-2)
    assert work.bytes / 1e6 == pytest.approx(megabytes, rel=1e-2)


def test_mla_prefill_of_4_278_ms_is_643_tflops() -> None:
    assert cost(mla("q8k"), 0).flops / 4.278e-3 / 1e12 == pytest.approx(643, rel=2e-3)


@pytest.mark.parametrize(
    ("kv_cache_dtype", "row"), [("auto", 1152), ("fp8", 576), ("fp8_ds_mla", 656)]
)
def test_a_latent_row_has_the_bytes_of_its_format(kv_cache_dtype: str, row: int) -> None:
    assert latent_row_bytes(mla("q1kv1k", kv_cache_dtype=kv_cache_dtype)) == row


@pytest.mark.parametrize(
    ("kv", "query"), [("auto", 2), ("fp8", 1), ("fp8_e4m3", 1), ("fp8_ds_mla", 2)]
)
def test_absorbed_queries_have_one_byte_over_a_plain_fp8_cache(kv: KvDtype, query: int) -> None:
    terms = cost(mla("64q1kv1k", kv_cache_dtype=kv), num_decode=64).byte_terms
    assert terms["q and output"] == 64 * 128 * (576 * query + 512 * 2)


def test_a_prefill_of_mla_reads_ready_keys_and_values_of_every_head() -> None:
    terms = cost(mla("q4kv1k"), num_decode=0).byte_terms
    ends = 128 * (192 + 128) * 2  # a query and an output, or a key and a value, of all heads
    assert terms == {"q and output": 4 * ends, "kv": 1024 * ends, "latent kv": 0}


def test_selected_keys_are_read_by_their_indices() -> None:
    terms = cost(mla("4q1kv1k", index_topk=64), num_decode=4).byte_terms
    assert terms["indices"] == 4 * 64 * 4
    assert terms["latent kv"] == 4 * 64 * 576 * 2


@pytest.mark.parametrize(
    ("case", "num_decode", "context", "row"),
    [
        (attn("q2k", scope="layer"), 0, 0, 2 * 8 * 128),
        (attn("4q1kv1k", scope="layer"), 4, 4 * 1023, 2 * 8 * 128),
        (attn("4q1kv1k", scope="layer", window=128), 4, 4 * 127, 2 * 8 * 128),
        (mla("q2k", scope="layer"), 0, 0, 576),
        (mla("4q1kv1k", scope="layer"), 4, 4 * 1023, 576),
        (mla("4q1kv1k", scope="layer", index_topk=64), 4, 4 * 63, 576),
    ],
)
def test_the_layer_reads_new_tokens_as_inputs_and_writes_them(
    case: Case, num_decode: int, context: int, row: int
) -> None:
    terms = cost(case, num_decode).byte_terms
    tokens = case.batch.num_tokens
    assert terms["new"] == terms["written"] == tokens * row * 2
    assert terms["slots"] == tokens * 8
    assert terms.get("kv", 0) + terms.get("latent kv", 0) == context * row * 2


def test_the_layer_adds_both_projections_to_a_decode() -> None:
    case = mla("4q1kv1k", scope="layer")
    added = cost(case, 4).flops - cost(mla("4q1kv1k"), 4).flops
    assert added == 2 * (2 * 4 * 128 * 128 * 512)


def test_the_paths_of_a_mixed_batch_add_up() -> None:
    mixed = cost(mla("4q1kv1k_q512", scope="layer"), num_decode=4)
    alone = cost(mla("4q1kv1k", scope="layer"), 4) + cost(mla("q512", scope="layer"), 0)
    weights = 512 * 128 * (128 + 128) * 2  # which both paths read, and a mixed batch once
    assert (mixed.flops, mixed.bytes) == (alone.flops, alone.bytes - weights)


@pytest.mark.parametrize(("kv_cache_dtype", "element"), [("auto", 2), ("fp8", 1)])
def test_a_cache_write_reads_the_model_dtype_and_writes_the_caches(
    kv_cache_dtype: KvDtype, element: int
) -> None:
    shape = AttnShape(8, 8, 128)
    batch = parse_batch_spec("q1k")
    case = Case("cache-write", "torch", batch, shape, "bf16", kv_cache_dtype=kv_cache_dtype)
    assert cost(case, 0).bytes == 1024 * 8 * 128 * 2 * (2 + element) + 8 * 1024
    assert cost(case, 0).flops == 0
