"""Needles: each key that a kernel loses at a border, or sees beyond one, moves the row."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from attnbench.kernels.base import Setting
from attnbench.kernels.check import WrongResult, check
from attnbench.kernels.deviation import compare
from attnbench.kernels.groups import Keys
from attnbench.kernels.inputs import raw
from attnbench.kernels.paged import PagedPrepared
from attnbench.kernels.registry import find
from attnbench.kernels.tolerance import attention as attention_tolerance
from attnbench.kernels.tolerance import rounding_error
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape, MlaShape

HEADS = AttnShape(4, 1, 128)
LATENTS = MlaShape(4, 512, 128, 64, 128)
FP8 = {"kv_cache_dtype": "fp8", "query_dtype": "fp8"}
LENGTHS = ("1k", "16395", "128k")


def prepared(case: Case, sets: int = 1, seed: int = 0) -> Any:
    return find(case.family, case.backend).prepare(case, Setting("cpu", sets, seed))


def attention(spec: str, **fields: object) -> Any:
    """Prepared for a kernel of bf16 or fp8, whose tolerance it has."""
    case = Case("prefill-trtllm", "torch", parse_batch_spec(spec), HEADS, "bf16", **fields)  # type: ignore[arg-type]
    return prepared(case)


def latents(spec: str, **fields: object) -> Any:
    batch = parse_batch_spec(spec)
    return prepared(Case("mla", "torch-absorbed", batch, LATENTS, "bf16", **fields))  # type: ignore[arg-type]


@dataclass
class Row:
    """One new token of the last request: its scores [heads, keys], values, and keys to lose."""

    scores: torch.Tensor
    values: torch.Tensor
    visible: torch.Tensor  # bool [keys]
    needles: list[int]
    allowed: float

    def moved(self, position: int) -> float:
        """By how many tolerances a row moves without this key, or with it: the most of all heads.

        Half of the heads are turned to needles at even positions, half to those at odd ones.
        """
        changed = self.visible.clone()
        changed[position] ^= True
        honest, wrong = self._output(self.visible), self._output(changed)
        return float(((wrong - honest).norm(dim=1) / honest.norm(dim=1)).max()) / self.allowed

    def _output(self, visible: torch.Tensor) -> torch.Tensor:
        return self.scores.masked_fill(~visible, -math.inf).softmax(-1) @ self.values


def row(ready: Any, offset: int = -1) -> Row:
    group, window = ready.groups[-1], ready.case.window
    every = torch.arange(group.kv_len)
    request = torch.full_like(every, group.first + group.count - 1)
    keys = Keys(group, ready.lengths, torch.zeros_like(every), request, every)
    position = group.kv_len - group.q_len + offset % group.q_len
    token = Keys(group, ready.lengths, *(each[-1:] for each in (every * 0, request, every)))
    token = replace(token, positions=torch.tensor([position]))
    query = ready.queries_at(token)[0]
    visible = (every <= position) & (every > position - (window or math.inf))
    planted = ready.places.positions[0, -1, : ready.places.counts[-1]]
    needles = [each for each in planted.unique().tolist() if visible[each]]
    met = ready.met_at(keys).expand(-1, len(query), -1)
    scores = torch.einsum("hd,nhd->hn", query, met) * ready.scale
    allowed = ready.tolerance.relative_l2
    return Row(scores, values_at(ready, keys), visible, [*needles, position], allowed)


def values_at(ready: Any, keys: Keys) -> Any:
    if ready.case.family == "mla":
        return ready.keys_at(keys)[:, 0, : LATENTS.kv_lora_rank]
    pages, offsets = ready.tables.at(keys)
    pool = raw(ready.kv).permute(ready._order)[pages, offsets, 1, 0]
    return pool.view(ready.kv.dtype).float() * ready.value_scale


@pytest.mark.parametrize("dtype", [{}, FP8], ids=["bf16", "fp8"])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("spec", ["2q1kv{}", "q40kv{}"])
def test_each_needle_that_is_lost_moves_a_row_by_several_tolerances(
    spec: str, length: str, dtype: dict[str, object]
) -> None:
    ready = attention(spec.format(length), **dtype)
    least = 3 if dtype else 20
    for offset in {-1, ready.groups[0].q_len // 2 - 1}:
        found = row(ready, offset)
        assert len(found.needles) > 10
        assert min(map(found.moved, found.needles)) > least


@pytest.mark.parametrize("kv", ["auto", "fp8"])
@pytest.mark.parametrize("length", ["1k", "16395"])
def test_each_needle_among_latents_moves_a_row_too(length: str, kv: str) -> None:
    found = row(latents(f"2q1kv{length}", kv_cache_dtype=kv))
    found.allowed = attention_tolerance("bf16", weights=None if kv == "auto" else "fp8").relative_l2
    assert min(map(found.moved, found.needles)) > (3 if kv == "fp8" else 20)


@pytest.mark.parametrize("dtype", [{}, FP8], ids=["bf16", "fp8"])
@pytest.mark.parametrize("length", LENGTHS)
def test_a_key_that_must_not_be_seen_would_score_higher_still(
    length: str, dtype: dict[str, object]
) -> None:
    found = row(attention(f"q40kv{length}", window=100, **dtype), -2)
    newest = found.needles[-1]
    oldest = newest - 99
    beyond = [found.moved(each) for each in (newest + 1, oldest - 1)]
    inside = [found.moved(each) for each in (newest, oldest)]
    assert min(beyond) > (6 if dtype else 50)
    assert min(inside) > (2 if dtype else 15)


@pytest.mark.parametrize("spec", ["q1kv90_q1kv300_2q1kv1k", "q1kv300_q7kv50_q9_q40kv1k"])
def test_requests_of_other_lengths_in_front_leave_a_request_its_needles(spec: str) -> None:
    found = row(attention(spec))
    assert len(found.needles) > 10
    assert min(map(found.moved, found.needles)) > 20


def test_a_key_beyond_scores_higher_behind_requests_of_other_lengths_too() -> None:
    found = row(attention("q1kv300_q7kv50_q40kv1k", window=100), -2)
    newest = found.needles[-1]
    assert min(found.moved(newest + 1), found.moved(newest - 100)) > 50


class Operations(TorchDispatchMode):  # type: ignore[misc]
    """Counts operations."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_planting_and_aiming_take_few_operations_for_each_group_of_requests() -> None:
    counts = []
    for groups in (2, 32):
        with Operations() as operations:
            attention("_".join(f"q1kv{40 + at}" for at in range(groups)))
        counts.append(operations.count)
    assert counts[1] - counts[0] < 30 * 40


Fault = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
# Of a mask, bool [q, keys], with the positions of its keys and each query's newest, [q, 1].
FAULTS: dict[str, Fault] = {
    "newest key lost": lambda mask, at, newest: mask & (at != newest),
    "first key lost": lambda mask, at, newest: mask & (at > 0),
    "middle key lost": lambda mask, at, newest: mask & (at != mask.shape[1] // 2),
    "last page lost": lambda mask, at, newest: mask & (at < (mask.shape[1] - 1) // 16 * 16),
    "next key seen": lambda mask, at, newest: mask | (at == newest + 1),
}


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        *(("2q1kv16k", fault) for fault in FAULTS if fault != "next key seen"),
        *(("q16kv4k", fault) for fault in FAULTS),
    ],
)
def test_a_kernel_with_one_place_wrong_in_thousands_of_keys_is_incorrect(
    spec: str, fault: str
) -> None:
    ready = prepared(Case("attn", "naive", parse_batch_spec(spec), HEADS, "bf16"))
    q_len, kv_len = ready.groups[0].q_len, ready.groups[0].kv_len
    mask = torch.ones(q_len, kv_len, dtype=torch.bool).tril(kv_len - q_len)
    ready.masks = [mask]
    check(ready, seed=0)
    newest = torch.arange(kv_len - q_len, kv_len)[:, None]
    ready.masks = [FAULTS[fault](mask, torch.arange(kv_len), newest)]
    with pytest.raises(WrongResult):
        check(ready, seed=0)


@pytest.mark.parametrize("length", ["1k", "128k"])
def test_unscaled_weights_in_fp8_err_as_foreseen(length: str) -> None:
    """Of light needles; heavy ones leave other keys next to nothing."""
    ready = attention(f"q4kv{length}", **FP8)
    errors = list[float]()
    for offset in range(4):
        scores, values = (given := row(ready, offset)).scores, given.values
        scores = scores.masked_fill(~given.visible, -math.inf)
        weights = (scores - scores.amax(1, keepdim=True)).exp()
        found, right = weights.to(torch.float8_e4m3fn).float() @ values, weights @ values
        light = torch.arange(offset, offset + 4) % 2 == 0
        errors += ((found - right).norm(dim=1) / right.norm(dim=1))[light].tolist()
    foreseen = math.hypot(ready.weights_too_small(), rounding_error("fp8"))
    assert 0.7 < math.sqrt(mean(each**2 for each in errors)) / foreseen < 1.1


@pytest.mark.parametrize("rows", [8, 256])
def test_beside_sinks_unscaled_weights_in_fp8_may_be_lost_in_some_rows_not_in_all(
    rows: int,
) -> None:
    case = Case("attn", "naive", parse_batch_spec("2q1kv40"), HEADS, "bf16", sinks=True)
    allowed = attention_tolerance("bf16", weights="fp8", small=prepared(case).weights_too_small())
    expected = torch.randn(rows, 128, generator=torch.Generator().manual_seed(0))
    output = expected.clone()
    output[: rows // 2] = 0
    assert compare(output, expected, allowed).fault is None
    assert compare(output * 0, expected, allowed).fault is not None


def test_sinks_of_half_of_the_heads_suit_the_shortest_request() -> None:
    batch = parse_batch_spec("3q1_q1kv4k")
    for window, lengths in (None, (4096, 1)), (128, (128, 1)):
        case = Case("attn", "naive", batch, AttnShape(64, 8, 64), "bf16", sinks=True, window=window)
        sinks = prepared(case).sinks.float()
        for first, length in enumerate(lengths):
            assert sinks[first::2].mean().item() == pytest.approx(math.log(length), abs=0.8)


@pytest.mark.parametrize("kv_data", ["normal", "zeros"])
def test_other_data_than_random_have_no_needles(kv_data: str) -> None:
    ready = attention("q1kv1k", kv_data=kv_data)
    assert ready.needle_seed is None
    assert ready.queries.float().std() == pytest.approx(1.0, abs=0.1)


def test_needles_stand_at_the_half_of_each_request_and_at_borders_of_different_splits() -> None:
    ready = attention("40q1kv4099")
    places = [set(found.tolist()) for found in ready.places.positions[0]]
    half = -(-4099 // 256) * 128
    assert all({half - 1, half} <= found for found in places)
    common = set.intersection(*places)
    drawn = [place for found in places for place in found - common if place % 128 == 0]
    assert len(drawn) >= 25
    assert len(set(drawn)) >= 12


def test_needles_change_few_keys_and_no_value() -> None:
    pools = [attention("q1kv4k", kv_data=data).kv for data in ("random", "normal")]
    keys, values = zip(*(pool.nan_to_num().unbind(1) for pool in pools), strict=True)
    assert 10 < int((keys[0] != keys[1]).any(-1).sum()) < 20
    assert torch.equal(*values)


@pytest.mark.parametrize("dtype", [{}, FP8], ids=["bf16", "fp8"])
def test_most_queries_that_saw_a_finite_tail_would_see_nothing_else(
    dtype: dict[str, object],
) -> None:
    case = Case("prefill-trtllm", "torch", parse_batch_spec("q1kv1021"), HEADS, "bf16", **dtype)  # type: ignore[arg-type]
    ready = PagedPrepared(case, Setting("cpu", 1, 0), layout="HND", nan_tails=False)
    behind = torch.arange(1021, 1024)
    nothing = torch.zeros_like(behind)
    keys = ready.keys_at(Keys(ready.groups[0], ready.lengths, nothing, nothing, behind))
    token = Keys(ready.groups[0], ready.lengths, nothing[:1], nothing[:1], torch.tensor([1020]))
    scores = torch.einsum("hd,nkd->hn", ready.queries_at(token)[0], keys) * ready.scale
    assert ((scores > 50).sum(0) >= 3).all()  # of four heads


def test_new_tokens_have_needles_too_and_half_of_the_context_is_negated() -> None:
    ready = latents("q200kv4k", scope="layer")
    before = ready.pool.stored.clone()
    ready.renew(5)
    context = torch.ones(before.shape[:2], dtype=torch.bool)
    context.view(-1)[ready.slots.flatten()] = False
    old, new = (each[context].nan_to_num() for each in (before, ready.pool.stored))
    turned = (new == -old).all(1)
    assert (turned | (new == old).all(1)).all()
    assert 0.4 < turned.float().mean() < 0.6
    ready.pool.stored[context] = before[context]
    ready.aim()
    found = row(ready)
    assert sum(each >= 4096 - 200 for each in found.needles) > 3
    found.allowed = attention_tolerance("bf16").relative_l2
    assert min(map(found.moved, found.needles)) > 5


def test_a_kernel_that_ignores_sinks_beside_many_keys_is_incorrect() -> None:
    case = Case("attn", "naive", parse_batch_spec("2q1kv16k"), HEADS, "bf16", sinks=True)
    ready = prepared(case)
    check(ready, seed=0)
    honest, ready.sinks = ready.sinks, None
    ready.calls[0]()
    without = ready.output(0).clone()
    ready.sinks = honest
    rows = torch.arange(len(without))
    expected = ready.expected(torch.zeros_like(rows), rows)
    assert compare(without.float(), expected, ready.tolerance).fault is not None
