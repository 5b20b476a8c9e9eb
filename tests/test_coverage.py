"""Which rows are compared: all of the first set where that is quick, else some of every kind."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from attnbench.kernels import check as checking
from attnbench.kernels import reference, rows
from attnbench.kernels.base import Prepared, Setting
from attnbench.kernels.check import WrongResult, check, check_again
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case
from attnbench.specs.shape import MlaShape
from tests.conftest import small_case
from tests.stale import measured

CPU = Machine(kind="cpu", device="cpu", name="Xeon", cpu_count=2)
SPEC = "2q5kv21_3q1kv40_q33"
CASES = [
    small_case("attn", "naive", SPEC),
    small_case("attn", "naive", SPEC, window=7, softcap=2.0, sinks=True),
    small_case("attn", "sdpa", SPEC),
    *(
        small_case("mla", backend, SPEC, scope=scope)
        for backend in ("torch-absorbed", "torch-mha")
        for scope in ("kernel", "layer")
    ),
    *(
        small_case("mla", "torch-absorbed", SPEC, scope=scope, index_topk=16)
        for scope in ("kernel", "layer")
    ),
    small_case("mla", "torch-absorbed", SPEC, scope="layer", knobs=(("threshold", 5),)),
    small_case("prefill-trtllm", "torch", "2q20kv40"),
    small_case("cache-write", "torch", "q7"),
]


def named(case: Case) -> str:
    return "-".join(str(value) for value in case.canonical().values())


def prepared(case: Case, sets: int = 2) -> Any:
    ready = find(case.family, case.backend).prepare(case, Setting("cpu", sets, seed=0))
    for call in ready.calls:
        call()
    return ready


@pytest.mark.parametrize("case", CASES, ids=named)
def test_the_first_sets_are_poisoned_together_and_no_other(case: Case) -> None:
    ready = prepared(case, sets=3)
    for call in ready.calls:
        call()
    ready.poison_sets(range(2))
    assert [bool(ready.output(index).isnan().any(1).all()) for index in range(3)] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("step", [2**9, 2**12, 2**25])
@pytest.mark.parametrize("case", CASES, ids=named)
def test_the_reference_of_a_whole_set_has_every_row(
    case: Case, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In steps of few rows or of many."""
    monkeypatch.setattr(rows, "STEP_ELEMENTS", step)
    ready = prepared(case)
    found, expected = ready.whole(1)
    assert set(found.tolist()) == set(range(len(ready.output(1))))
    torch.testing.assert_close(expected, ready.expected(torch.full_like(found, 1), found))


def test_a_large_set_is_not_compared_whole() -> None:
    assert prepared(small_case(spec="q4")).whole(0) is not None
    assert prepared(small_case(spec="q3k")).whole(0) is None


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("request_", [0, 17, 39])
def test_one_wrong_request_of_many_is_found(
    request_: int, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(reference.WHOLE_SECONDS, "cpu", float(whole))
    ready = prepared(small_case(spec="40q1kv16"))
    spoil(ready, [0], lambda output: output[request_].mul_(1.2))
    with pytest.raises(WrongResult, match="where the reference has"):
        check(ready, seed=0)


@pytest.mark.parametrize("part", [2**9, 2**23])
@pytest.mark.parametrize("request_", [3, 41, 99, 150, 171, 199])
def test_one_wrong_head_of_one_request_is_found(
    request_: int, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether all rows are compared at once or in parts."""
    monkeypatch.setattr(checking, "PART_ELEMENTS", part)
    ready = prepared(small_case(spec="200q1kv4"))
    spoil(ready, [0], lambda output: output[request_, request_ % 4].mul_(1.2))
    with pytest.raises(WrongResult, match="where the reference has"):
        check(ready, seed=0)


def test_each_request_gets_another_kv_head_in_the_next_block_and_in_the_next_round() -> None:
    ready = prepared(small_case(spec="4q1kv16"))
    heads = [(ready.spread(8, seed)[:, 0] % 4 // 2).tolist() for seed in (0, 1)]
    for request_ in range(4):
        assert heads[0][request_] != heads[0][request_ + 4]
        assert heads[0][request_] != heads[1][request_]


@pytest.mark.parametrize("kv_head", [0, 1])
def test_a_wrong_kv_head_is_found_in_a_sample(
    kv_head: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(reference.WHOLE_SECONDS, "cpu", 0.0)
    ready = prepared(small_case(spec="3q300"), sets=1)
    shape = ready.shape
    heads = {row % shape.num_q_heads for row in ready.spread(0, seed=kv_head).flatten().tolist()}
    ratio = shape.num_q_heads // shape.num_kv_heads
    assert {head // ratio for head in heads} == set(range(shape.num_kv_heads))


@pytest.mark.parametrize("row", range(0, 128, 11))
def test_one_head_of_latent_attention_that_is_wrong_in_the_last_set_is_found(row: int) -> None:
    """All heads of a token share one latent key, so all are compared at once."""
    shape = MlaShape(16, kv_lora_rank=32, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16)
    ready = prepared(replace(small_case("mla", "torch-absorbed", "8q1kv19"), shape=shape), sets=8)
    right = ready.calls[-1]

    def wrong() -> None:
        right()
        ready.decode_outputs[-1].flatten(0, 1)[row] = 0.0

    ready.calls = [*ready.calls[:-1], wrong]
    with pytest.raises(WrongResult, match=r"in working set 7: "):
        measured(ready, CPU, seed=0)


@pytest.mark.parametrize("request_", range(0, 600, 37))
def test_a_request_that_is_wrong_in_all_sets_but_the_first_is_found_in_one_round(
    request_: int,
) -> None:
    ready = prepared(small_case(spec="600q1kv4"), sets=2)
    spoil(ready, [1], lambda output: output[request_].mul_(1.5))
    with pytest.raises(WrongResult, match=r"in working set 1: got"):
        measured(ready, CPU, seed=0)


def test_three_rounds_look_at_a_request_in_six_sets() -> None:
    found = set()
    for seed in range(3):
        for wrong in range(6):
            ready = prepared(small_case(spec="300q1kv4"), sets=6)
            spoil(ready, [wrong], lambda output: output[41].mul_(1.5))
            try:
                measured(ready, CPU, seed)
            except WrongResult:
                found.add(wrong)
    assert found == set(range(6))


def test_what_is_wrong_in_a_set_that_no_launch_reached_is_not_looked_at() -> None:
    ready = prepared(small_case(spec="3q1kv4"), sets=3)
    ready.outputs[2].fill_(7.0)
    check_again(ready, launched=2, seed=0)
    with pytest.raises(WrongResult, match="in working set 2"):
        check_again(ready, launched=3, seed=0)


@pytest.mark.parametrize("token", range(0, 900, 100))
def test_a_row_that_timing_left_unwritten_is_found_whether_it_is_compared_or_not(
    token: int,
) -> None:
    ready = prepared(small_case(spec="900q1kv4"))
    ready.outputs[1][token, 1] = float("nan")
    with pytest.raises(WrongResult, match="in working set 1: 1 of 3600 rows hold NaN"):
        check_again(ready, launched=2, seed=0)


def spoil(ready: Prepared, sets: list[int], change: Callable[[torch.Tensor], object]) -> None:
    """Change the output [tokens, heads, dim] of these sets after each launch."""
    holder: Any = ready
    right = list(ready.calls)

    def wrong(index: int) -> None:
        right[index]()
        if index in sets:
            change(holder.outputs[index])

    ready.calls = reference.rotating(wrong, len(right))
