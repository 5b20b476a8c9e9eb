"""A case's identity: what makes two askings one case, and what must not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnbench.errors import UsageError
from attnbench.specs.batch import Batch, Request, parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.models import MODELS
from attnbench.specs.shape import AttnShape, MlaShape
from tests.conftest import small_case

requests = st.tuples(st.integers(1, 5000), st.integers(0, 5000)).map(
    lambda pair: Request(pair[0], pair[0] + pair[1])
)
cases = st.builds(
    Case,
    family=st.sampled_from(["attn", "mla", "cache-write"]),
    backend=st.sampled_from(["sdpa", "naive"]),
    batch=st.lists(requests, min_size=1, max_size=5).map(lambda listed: Batch(tuple(listed))),
    shape=st.sampled_from([AttnShape(), AttnShape(4, 2, 64), MlaShape(), MlaShape(16)]),
    dtype=st.sampled_from(["bf16", "fp16"]),
    kv_cache_dtype=st.sampled_from(["auto", "fp8"]),
    block_size=st.none() | st.sampled_from([16, 64]),
    layout=st.none() | st.sampled_from(["NHD", "HND"]),
    scope=st.sampled_from(["kernel", "layer"]),
    window=st.none() | st.integers(1, 4096),
    softcap=st.none() | st.sampled_from([30.0, 50.0]),
    sinks=st.booleans(),
    index_topk=st.none() | st.just(2048),
    topk_pattern=st.sampled_from(["random", "window", "prefix"]),
    kv_data=st.sampled_from(["random", "zeros"]),
    page_order=st.sampled_from(["scattered", "contiguous"]),
    knobs=st.dictionaries(st.sampled_from(["threshold", "num_splits"]), st.integers(1, 9)).map(
        lambda knobs: tuple(knobs.items())
    ),
)


@given(cases)
def test_canonical_form_reads_back_as_the_same_case(case: Case) -> None:
    assert Case.from_canonical(case.canonical()) == case
    assert Case.from_canonical(case.canonical()).key == case.key


def test_the_order_in_which_requests_are_written_makes_no_other_case() -> None:
    one = small_case(spec="1q2k_63q1kv1k")
    other = small_case(spec="63q1kv1k_q2k")
    assert (one, one.key) == (other, other.key)
    assert str(one.batch) == "63q1kv1k_q2k"


def test_a_default_is_left_out_so_that_a_new_field_changes_no_old_hash() -> None:
    assert set(small_case().canonical()) == {
        "family",
        "backend",
        "batch",
        "dtype",
        "num_q_heads",
        "num_kv_heads",
        "head_dim",
    }


def test_the_key_is_what_it_was_when_results_were_first_stored() -> None:
    case = Case("attn", "sdpa", parse_batch_spec("8q1kv1k"), AttnShape(), "bf16")
    assert case.key == "9bfee190cb1eba4437ebd0db279aa1d190c94c6ec6cced8c6f7d08f8ada23452"


@pytest.mark.parametrize(
    ("family", "fields", "version"),
    [
        ("mla", {"scope": "layer"}, 2),  # writes the new latents
        ("attn", {"scope": "layer", "kv_cache_dtype": "fp8"}, 2),  # quantises queries
        ("attn", {"scope": "layer"}, 1),
        ("mla", {"kv_cache_dtype": "fp8"}, 1),
        ("attn", {}, 1),
    ],
)
def test_a_scope_that_came_to_include_more_is_another_version(
    family: str, fields: dict[str, object], version: int
) -> None:
    case = small_case(family, **fields)  # type: ignore[arg-type]
    assert case.fields()["scope_version"] == version
    stored = {n: v for n, v in case.canonical().items() if n != "scope_version"}
    old = Case.from_canonical(stored)
    assert (old == case) is (old.key == case.key) is (version == 1)
    assert (old.workload_key == case.workload_key) is (version == 1)
    assert old.canonical() == stored


@pytest.mark.parametrize(
    ("fields", "same_workload"),
    [
        ({"backend": "sdpa"}, True),
        ({"block_size": 32}, True),
        ({"layout": "HND"}, True),
        ({"knobs": (("threshold", 4),)}, True),
        ({"spec": "2q8"}, False),
        ({"dtype": "bf16"}, False),
        ({"kv_cache_dtype": "fp8"}, False),
        ({"scope": "layer"}, False),
        ({"window": 128}, False),
        ({"softcap": 50.0}, False),
        ({"sinks": True}, False),
        ({"index_topk": 2048}, False),
        ({"topk_pattern": "prefix"}, False),
        ({"kv_data": "zeros"}, False),
        ({"page_order": "contiguous"}, False),
    ],
)
def test_a_workload_is_blind_to_what_only_chooses_an_implementation(
    fields: dict[str, object], same_workload: bool
) -> None:
    changed = small_case(**fields)  # type: ignore[arg-type]
    assert changed.key != small_case().key
    assert (changed.workload_key == small_case().workload_key) is same_workload


def test_all_fp8_caches_are_one_workload() -> None:
    keys = {small_case(kv_cache_dtype=name).workload_key for name in ("fp8", "fp8_ds_mla")}
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (MODELS["llama3-70b"].sharded(8), AttnShape(8, 1, 128)),
        (MODELS["llama3-70b"].sharded(16), AttnShape(4, 1, 128)),
        (MODELS["llama3-8b"].sharded(1, head_dim=64, num_q_heads=None), AttnShape(32, 8, 64)),
        (MODELS["deepseek-v3"].sharded(8), MlaShape(16)),
        (MODELS["deepseek-v2-lite"].sharded(1, v_head_dim=64), MlaShape(16, v_head_dim=64)),
    ],
)
def test_a_model_gives_the_heads_of_one_rank(shape: object, expected: object) -> None:
    assert shape == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: AttnShape(6, 4, 64),
            "--num-q-heads 6 is not a multiple of --num-kv-heads 4: every KV head serves the same "
            "number of query heads, e.g. --num-q-heads 32 --num-kv-heads 8",
        ),
        (
            lambda: MlaShape(0),
            "--num-q-heads 0: a whole number from 1 is needed, e.g. 128",
        ),
        (
            lambda: MODELS["deepseek-v3"].sharded(3),
            "--tp 3 does not divide 128 query heads; accepted are its divisors, e.g. --tp 1",
        ),
    ],
)
def test_an_impossible_shape_is_one_clear_error(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(UsageError) as caught:
        make()
    assert str(caught.value) == message
