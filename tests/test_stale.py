"""Results that were kept from earlier calls are found: the inputs change and they do not."""

from typing import Any

import pytest
import torch

from attnbench.kernels.base import Prepared, Setting
from attnbench.kernels.check import WrongResult
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case
from attnbench.specs.quant import QUANTS
from tests.conftest import small_case
from tests.stale import go_stale, measured

CPU = Machine(kind="cpu", device="cpu", name="Xeon", cpu_count=2)
SPEC = "2q5kv21_q1kv16"


def fields(quant: str) -> dict[str, Any]:
    return dict(QUANTS[quant])


CASES = [
    small_case("attn", "naive", SPEC),
    small_case("attn", "sdpa", SPEC),
    *(
        small_case("mla", backend, SPEC, scope=scope)
        for backend in ("torch-absorbed", "torch-mha")
        for scope in ("kernel", "layer")
    ),
    small_case("mla", "torch-absorbed", SPEC, "bf16", kv_cache_dtype="fp8"),
    *(
        small_case("cache-write", "torch", "q7", "bf16", kv_cache_dtype=kv)
        for kv in ("auto", "fp8", "fp8_e5m2")
    ),
    small_case("cache-write", "torch", "q7", page_order="contiguous"),
    *(small_case("prefill-trtllm", "torch", "2q20kv40", **fields(quant)) for quant in QUANTS),
]


def named(case: Case) -> str:
    return "-".join(str(value) for value in case.canonical().values())


def prepared(case: Case) -> Prepared:
    ready = find(case.family, case.backend).prepare(case, Setting("cpu", 2, seed=0))
    for call in ready.calls:
        call()
    return ready


@pytest.mark.parametrize("case", CASES, ids=named)
def test_old_results_fail_where_new_ones_pass(case: Case) -> None:
    with torch.inference_mode():
        ready = prepared(case)
        measured(ready, CPU, seed=0)
        go_stale(ready)
        with pytest.raises(WrongResult, match=r"^launched again with"):
            measured(ready, CPU, seed=1)


@pytest.mark.parametrize("case", [each for each in CASES if each.family != "cache-write"])
def test_every_query_is_another(case: Case) -> None:
    ready: Any = prepared(case)
    names = ("queries", "decode_queries", "prefill_queries")
    before = {name: getattr(ready, name).clone() for name in names if hasattr(ready, name)}
    ready.renew(1)
    for name, old in before.items():
        change = (getattr(ready, name).float() - old.float()).norm(dim=-1)
        assert (change > 0.2 * old.float().norm(dim=-1)).all()


@pytest.mark.parametrize("order", ["scattered", "contiguous"])
def test_every_input_of_a_cache_write_changes(order: str) -> None:
    ready = prepared(small_case("cache-write", "torch", "q7", page_order=order))
    before = ready.new.clone(), ready.slots.mapping.clone()  # type: ignore[attr-defined]
    ready.renew(1)
    after = ready.new, ready.slots.mapping  # type: ignore[attr-defined]
    assert not (before[0] == after[0]).any()
    assert not (before[1] == after[1])[:, :7].all(1).any()
    assert (after[1][:, 7:] == -1).all()


def test_new_tokens_at_old_slots_are_a_write_where_none_was_sent() -> None:
    """A kernel that reads new keys and values and keeps the slots."""
    ready = prepared(small_case("cache-write", "torch", "q7"))
    slots = ready.slots.mapping.clone()  # type: ignore[attr-defined]
    ready.renew(1)
    ready.slots.mapping.copy_(slots)  # type: ignore[attr-defined]
    for index, call in enumerate(ready.calls):
        ready.poison(index)
        call()
    assert "was written though no token was sent there" in str(ready.damage(0))
