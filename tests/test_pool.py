"""`--pool-gib`: requests' pages lie all over a pool of that size, and nothing else changes."""

from typing import Any

import pytest
import torch

from attnbench.kernels.base import Setting
from attnbench.kernels.check import check
from attnbench.kernels.inputs import UNUSED_ENTRY, least_pages, page_tables, seeded
from attnbench.kernels.registry import find
from attnbench.kernels.vllm.memory import attention_bytes, mla_bytes
from attnbench.kernels.vllm.metadata import NULL_PAGE, layer_tables
from attnbench.provenance.machine import Machine
from attnbench.running.memory import memory_of, memory_refusal, working_sets
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape
from tests.conftest import Attnbench, small_case
from tests.held import held_bytes

GIB = 2**30
CPU = Machine(kind="cpu", device="cpu", name="Xeon", l2_bytes=2**20)
H200 = Machine(kind="cuda", device="cuda:0", name="NVIDIA H200", l2_bytes=60 * 2**20)
SIZE = 0.004  # GiB
POOLED = [
    small_case(pool_gib=SIZE),
    small_case(pool_gib=SIZE, page_order="contiguous"),
    small_case("mla", "torch-absorbed", pool_gib=SIZE),
    small_case("mla", "torch-mha", pool_gib=SIZE, scope="layer"),
    small_case("prefill-trtllm", "torch", pool_gib=SIZE, kv_cache_dtype="fp8", query_dtype="fp8"),
]


def prepared(case: Case, sets: int = 3) -> Any:
    return find(case.family, case.backend).prepare(case, Setting("cpu", sets, seed=0))


@pytest.mark.parametrize("case", POOLED, ids=lambda case: f"{case.backend}-{case.key[:6]}")
def test_results_over_a_large_pool_are_right(case: Case) -> None:
    check(prepared(case), seed=1)


@pytest.mark.parametrize("case", POOLED, ids=lambda case: f"{case.backend}-{case.key[:6]}")
@pytest.mark.parametrize("sets", [1, 3])
def test_the_sets_share_one_pool_of_the_size_and_its_memory_is_foreseen(
    case: Case, sets: int
) -> None:
    foreseen = sum(memory_of(case, sets, CPU).values())
    assert SIZE * GIB < held_bytes(prepared(case, sets)) < 1.15 * SIZE * GIB
    assert SIZE * GIB < foreseen < 1.15 * SIZE * GIB


def test_pages_are_scattered_over_the_whole_pool() -> None:
    case = small_case(spec="40q1kv320", pool_gib=0.01)
    tables = prepared(case, sets=2).tables
    assert tables.num_pages * 16 * 2 * 2 * 16 * 4 >= 0.01 * GIB
    used = tables.tables[tables.tables != UNUSED_ENTRY]
    assert len(used) == len(set(used.tolist())) == 2 * 40 * 20
    parts = torch.histc(used.float(), 10, 0, tables.num_pages)
    assert parts.min() > 0.6 * len(used) / 10  # of each set and request, chance decides
    of_one_request = tables.tables[0, 0].float()
    assert of_one_request.max() - of_one_request.min() > tables.num_pages / 2


def test_a_pool_smaller_than_needed_changes_nothing() -> None:
    batch = small_case().batch
    usual = page_tables(batch, 16, 2, seeded("cpu", 0))
    small = page_tables(batch, 16, 2, seeded("cpu", 0), least=3)
    assert torch.equal(usual.tables, small.tables)
    assert usual.num_pages == small.num_pages


def test_layers_of_vllm_have_equal_parts_of_the_pool() -> None:
    case = small_case(pool_gib=0.01)
    page_bytes = 16 * 2 * 2 * 16 * 4
    least = least_pages(case, 16, 3)
    assert 3 * least * page_bytes >= 0.01 * GIB > 3 * (least - 1) * page_bytes
    made = layer_tables(case.batch, 16, seeded("cpu", 0), "scattered", least)
    assert made.num_pages == least + 1
    assert NULL_PAGE not in made.strangers
    assert int(made.tables.max()) > least // 2


@pytest.mark.parametrize("sets", [0, 1, 2, 7])
def test_the_pool_of_vllms_layers_is_foreseen_once(sets: int) -> None:
    attn, mla = small_case(pool_gib=2.0), small_case("mla", pool_gib=2.0)
    shared = attention_bytes(attn, sets, 16)["kv"]
    assert 2 * GIB <= shared < 2.001 * GIB
    shared = mla_bytes(mla, 3, sets, 64, split_queries=False)["latent kv"]
    assert 2 * GIB <= shared < 2.001 * GIB


def test_a_pool_takes_no_room_from_the_working_sets() -> None:
    usual = Case("attn", "naive", small_case(spec="8q1kv64").batch, AttnShape(8, 2, 64), "fp32")
    pooled = Case("attn", "naive", usual.batch, usual.shape, "fp32", pool_gib=60.0)
    free = 140 * GIB
    assert working_sets(pooled, H200, free=free) == working_sets(usual, H200, free=free)


def test_a_pool_larger_than_the_memory_is_refused_with_its_size() -> None:
    reason = memory_refusal(small_case(pool_gib=90000.0), CPU)
    assert reason is not None
    assert "GiB of memory (kv 90000 GiB); " in reason


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (small_case(backend="sdpa", pool_gib=1.0), "has no pages, so --pool-gib does not apply"),
        (
            small_case("cache-write", "torch", "q8", pool_gib=1.0),
            "has a cache of --num-blocks pages, so --pool-gib does not apply",
        ),
    ],
)
def test_a_backend_without_such_a_pool_refuses_it(case: Case, reason: str) -> None:
    assert find(case.family, case.backend).refusal(case, CPU) == reason


def test_a_case_without_a_pool_keeps_its_key_and_one_with_it_is_another_workload() -> None:
    usual, pooled = small_case(), small_case(pool_gib=16.0)
    assert "pool_gib" not in usual.canonical()
    assert pooled.canonical() == usual.canonical() | {"pool_gib": 16.0}
    assert pooled.workload_key != usual.workload_key
    assert Case.from_canonical(pooled.canonical()) == pooled


def test_rows_say_the_size(attnbench: Attnbench) -> None:
    shape = "--num-q-heads 4 --num-kv-heads 2 --head-dim 16 --batch-specs 2q1kv64"
    how = "--rounds 1 --repeats 5 --device cpu --pool-gib 0.002 0.004"
    found = attnbench("attn", "--backend", "naive", *shape.split(), *how.split())
    assert found.returncode == 0, found.stderr
    assert [line.split()[0] for line in found.stdout.splitlines() if line.startswith("0.0")] == [
        "0.002",
        "0.004",
    ]
