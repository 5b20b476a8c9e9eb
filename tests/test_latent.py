"""The latent cache: its formats, the keys that sparse attention selects, and their cost."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnbench.families import cost
from attnbench.kernels.base import Setting
from attnbench.kernels.check import WrongResult, check
from attnbench.kernels.inputs import page_tables, seeded
from attnbench.kernels.mla_base.formats import decode, encode
from attnbench.kernels.mla_base.pool import LatentPool
from attnbench.kernels.mla_base.prepared import MlaPrepared
from attnbench.kernels.mla_base.projections import absorb, project_values, up_project
from attnbench.kernels.mla_base.topk import topk_indices
from attnbench.kernels.registry import find
from attnbench.specs.batch import Request, parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.cost import latent_row_bytes
from attnbench.specs.shape import MlaShape
from attnbench.specs.sparse import PATTERNS, gathered_keys, selected_pairs
from tests.untimed import untimed

# The rank is two tiles of fp8_ds_mla.
SHAPE = MlaShape(2, 256, 16, 8, 16)
SPECS = ["3q1kv40", "q33", "2q5kv21_q1kv16_2q16_3q1kv17"]


def mla(spec: str, backend: str = "torch-absorbed", dtype: str = "fp32", **fields: object) -> Case:
    return Case("mla", backend, parse_batch_spec(spec), SHAPE, dtype, **fields)  # type: ignore[arg-type]


def checked(case: Case) -> None:
    untimed(find("mla", case.backend).prepare(case, Setting("cpu", 2, 0)))


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("kv", ["fp8", "fp8_ds_mla"])
@pytest.mark.parametrize("scope", ["kernel", "layer"])
@pytest.mark.parametrize("backend", ["torch-absorbed", "torch-mha"])
def test_both_paths_agree_with_the_reference_over_a_quantised_cache(
    backend: str, scope: str, kv: str, spec: str
) -> None:
    checked(mla(spec, backend, scope=scope, kv_cache_dtype=kv, block_size=16))


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("kv", ["auto", "fp8_ds_mla"])
@pytest.mark.parametrize("scope", ["kernel", "layer"])
def test_attention_over_selected_keys_agrees_with_the_reference(
    scope: str, kv: str, pattern: str
) -> None:
    for spec in SPECS:
        case = mla(spec, scope=scope, kv_cache_dtype=kv, index_topk=16, topk_pattern=pattern)
        checked(replace(case, block_size=16))


def test_a_selection_of_all_keys_is_dense_attention() -> None:
    spec = "2q5kv21_3q1kv17"
    outputs = []
    for topk in (None, 32):
        ready = find("mla", "torch-absorbed").prepare(
            mla(spec, index_topk=topk, block_size=16), Setting("cpu", 1, 3)
        )
        ready.calls[0]()
        outputs.append(ready.output(0))
    torch.testing.assert_close(*outputs)


def test_a_prompt_that_selects_all_keys_reads_its_new_tokens_as_they_were_before_caching() -> None:
    expected = []
    for topk in (None, 64):
        case = mla("2q20kv40", kv_cache_dtype="fp8", index_topk=topk)
        ready = MlaPrepared(case, Setting("cpu", 1, 3), num_decode=0, block_size=16)
        rows = torch.arange(len(ready.output(0)))
        expected.append(ready.expected(torch.zeros_like(rows), rows))
    assert torch.equal(*expected)


def test_a_mixed_batch_at_scope_kernel_has_both_widths() -> None:
    case = mla("2q1kv40_q33", knobs=(("threshold", 1),))
    ready = find("mla", "torch-absorbed").prepare(case, Setting("cpu", 2, 0))
    check(ready, seed=0)
    output = ready.output(0)
    assert output.shape == (35 * 2, SHAPE.kv_lora_rank)
    assert (output[2 * 2 :, SHAPE.v_head_dim :] == 0).all()
    assert (output[: 2 * 2, SHAPE.v_head_dim :] != 0).any()


@pytest.mark.parametrize("backend", ["torch-absorbed", "torch-mha"])
@pytest.mark.parametrize("kv", ["auto", "fp8", "fp8_ds_mla"])
def test_a_layer_that_leaves_its_new_latents_unwritten_is_wrong(
    monkeypatch: pytest.MonkeyPatch, kv: str, backend: str
) -> None:
    monkeypatch.setattr(MlaPrepared, "write_latents", lambda *_: None)
    case = mla("2q5kv21_q33", backend, scope="layer", kv_cache_dtype=kv)
    with pytest.raises(WrongResult):
        checked(case)


@pytest.mark.parametrize("kv", ["auto", "fp8", "fp8_ds_mla"])
def test_latents_written_to_slots_of_others_are_noticed(kv: str) -> None:
    ready: Any = find("mla", "torch-mha").prepare(
        mla("2q5kv21_q33", scope="layer", kv_cache_dtype=kv), Setting("cpu", 1, 0)
    )
    assert ready.damage(0) is None
    ready.pool.write(ready.slots[0], ready.new_latents[0].roll(1, 0))
    assert "do not hold the latents" in ready.damage(0)


def test_reading_a_wrong_selection_would_be_noticed() -> None:
    ready = find("mla", "torch-absorbed").prepare(
        mla("3q1kv40", index_topk=16), Setting("cpu", 1, 0)
    )
    right = ready.topk.clone()  # type: ignore[attr-defined]

    def wrong() -> None:
        ready.topk[0, :, 0] = (right[0, :, 0] + 1) % 40  # type: ignore[attr-defined]
        ready._launch(0)  # type: ignore[attr-defined]
        ready.topk.copy_(right)  # type: ignore[attr-defined]

    ready.calls = [wrong]
    with pytest.raises(WrongResult):
        check(ready, seed=0)


def test_the_slots_of_new_tokens_are_the_last_of_each_request() -> None:
    case = mla("2q5kv21_q1kv16_q33", block_size=16)
    tables = page_tables(case.batch, 16, 2, seeded("cpu", 0))
    pool = LatentPool.filled(case, tables, seeded("cpu", 1), nan_tails=True)
    by_hand = [
        [
            int(table[row, position // 16]) * 16 + position % 16
            for row, request in enumerate(case.batch)
            for position in range(request.context_len, request.kv_len)
        ]
        for table in tables.tables
    ]
    assert pool.new_slots().tolist() == by_hand


def test_fp8_ds_mla_is_laid_out_as_vllm_writes_it() -> None:
    latents = torch.linspace(-3, 3, 2 * 576).view(2, 576).to(torch.bfloat16)
    stored = encode(latents, MlaShape(), "fp8_ds_mla")
    assert stored.shape == (2, 656)
    assert stored.dtype is torch.uint8
    scales = stored[:, 512:528].contiguous().view(torch.float32)
    tiles = latents[:, :512].float().unflatten(1, (4, 128))
    assert torch.equal(scales, tiles.abs().amax(-1) / 448)
    rope = stored[:, 528:].contiguous().view(torch.bfloat16)
    assert torch.equal(rope, latents[:, 512:])
    values = stored[:, :512].contiguous().view(torch.float8_e4m3fn).float()
    assert torch.equal(values.abs().amax(1), torch.full((2,), 448.0))


@pytest.mark.parametrize(
    ("kv", "relative"), [("auto", 0.0), ("fp8", 2**-4), ("fp8_e4m3", 2**-4), ("fp8_ds_mla", 2**-4)]
)
def test_what_is_encoded_is_decoded_to_the_bits_that_it_keeps(kv: str, relative: float) -> None:
    latents = torch.randn(
        (50, 576), dtype=torch.bfloat16, generator=torch.Generator().manual_seed(0)
    )
    back = decode(encode(latents, MlaShape(), kv), MlaShape(), kv, torch.float32)
    assert ((back - latents.float()).abs() <= relative * latents.float().abs() + 2**-9).all()
    again = encode(back.to(torch.bfloat16), MlaShape(), kv)
    assert torch.equal(decode(again, MlaShape(), kv, torch.float32), back) or kv == "fp8_ds_mla"


@pytest.mark.parametrize(("kv", "row"), [("fp8", 264), ("fp8_ds_mla", 256 + 2 * 4 + 16)])
def test_pages_of_nobody_hold_nan_in_every_format(kv: str, row: int) -> None:
    case = mla("3q1kv40", kv_cache_dtype=kv)
    tables = page_tables(case.batch, 16, 2, seeded("cpu", 0))
    for nan_tails in (True, False):
        pool = LatentPool.filled(case, tables, seeded("cpu", 1), nan_tails=nan_tails)
        assert pool.stored.shape[-1] == row == latent_row_bytes(case)
        read = pool.read(torch.arange(tables.num_pages * 16), torch.float32).unflatten(0, (-1, 16))
        assert read[tables.strangers].isnan().all()
        last = read[tables.tables[0, :, 2].long()]
        assert not last[:, :8].isnan().any()
        tails = last[:, 8:]
        assert tails.isnan().all() if nan_tails or kv == "fp8_ds_mla" else (tails == 448).all()


@given(st.integers(1, 12), st.integers(0, 30), st.integers(1, 20), st.sampled_from(PATTERNS))
@settings(max_examples=60)
def test_each_token_selects_distinct_keys_that_it_sees(
    q_len: int, context: int, topk: int, pattern: str
) -> None:
    batch = parse_batch_spec(f"2q{q_len}kv{q_len + context}")
    found = topk_indices(batch, 3, topk, pattern, seeded("cpu", 0))
    assert found.shape == (3, 2 * q_len, topk)
    for row, keys in enumerate(found.flatten(0, 1).tolist()):
        seen = context + row % q_len + 1
        chosen = [key for key in keys if key >= 0]
        assert keys == chosen + [-1] * (topk - len(chosen))
        assert len(set(chosen)) == len(chosen) == min(topk, seen)
        assert all(key < seen for key in chosen)
        if pattern == "window":
            assert min(chosen) == max(0, seen - topk)
        if pattern == "prefix":
            assert max(chosen) == len(chosen) - 1


def test_random_keys_differ_between_tokens_sets_and_seeds() -> None:
    batch = parse_batch_spec("2q2kv1k")
    one, other = (topk_indices(batch, 2, 64, "random", seeded("cpu", seed)) for seed in (0, 1))
    rows = [tuple(sorted(row)) for row in one.flatten(0, 1).tolist()]
    assert len(set(rows)) == len(rows)
    assert not torch.equal(one, other)


@given(st.integers(1, 12), st.integers(0, 30), st.integers(1, 20))
def test_selected_pairs_are_exact(q_len: int, context: int, topk: int) -> None:
    seen = [context + i + 1 for i in range(q_len)]
    assert selected_pairs(Request(q_len, q_len + context), topk) == sum(min(topk, n) for n in seen)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(
    ("q_len", "kv_len", "topk"), [(1, 40, 8), (6, 40, 8), (16, 16, 5), (4, 9, 32)]
)
def test_the_keys_that_must_be_read_are_those_that_any_token_selects(
    pattern: str, q_len: int, kv_len: int, topk: int
) -> None:
    batch = parse_batch_spec(f"300q{q_len}kv{kv_len}")
    found = topk_indices(batch, 1, topk, pattern, seeded("cpu", 0)).view(300, -1)
    read = sum(len(set(row) - {-1}) for row in found.tolist()) / 300
    expected = gathered_keys(Request(q_len, kv_len), topk, pattern)
    assert read == pytest.approx(expected, rel=0.03 if pattern == "random" else 0)


def test_a_sparse_decode_costs_its_selection_and_not_its_length() -> None:
    short, long = (mla(f"8q1kv{length}", index_topk=64) for length in ("1k", "8k"))
    assert cost(short, 8) == cost(long, 8)
    dense = cost(mla("8q1kv64"), 8)
    assert cost(short, 8).flops == dense.flops
    assert cost(short, 8).bytes == dense.bytes + 8 * 64 * 4
    assert cost(replace(short, topk_pattern="window"), 8).bytes == cost(short, 8).bytes


def test_the_layers_products_are_those_of_up_projected_heads() -> None:
    """(q_nope W_UK) c = q_nope (W_UK c), and the same for the values."""
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(s, generator=generator) for s in ((3, 2, 24), (7, 264), (2, 32, 256))]
    queries, latents, weights = drawn
    nope, rope = absorb(queries, weights[:, :16])
    absorbed = torch.cat([nope, rope], dim=-1)
    keys, values = up_project(latents, weights, 16)
    torch.testing.assert_close(
        torch.einsum("thc,kc->htk", absorbed, latents),
        torch.einsum("thd,khd->htk", queries, keys),
        rtol=1e-4,
        atol=1e-3,
    )
    out = torch.empty(7, 2, 16)
    project_values(latents[:, None, :256].expand(-1, 2, -1), weights[:, 16:], out)
    torch.testing.assert_close(out, values, rtol=1e-4, atol=1e-3)
