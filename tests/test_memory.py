"""Memory foreseen, against the tensors that a prepared case really holds."""

from collections.abc import Mapping
from typing import Any

import pytest

from attnbench.kernels.attn.naive import Naive
from attnbench.kernels.base import Backend, Setting
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine
from attnbench.running import memory
from attnbench.running.memory import memory_of, memory_refusal, working_sets
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape, MlaShape, Shape
from tests.conftest import small_case
from tests.held import held_bytes

MIB = 2**20
CPU = Machine(kind="cpu", device="cpu", name="Xeon", l2_bytes=32 * MIB)
H200 = Machine(
    kind="cuda",
    device="cuda:0",
    name="NVIDIA H200",
    capability=(9, 0),
    sm_count=132,
    l2_bytes=60 * MIB,
    memory_bytes=140 * 2**30,
)
SHAPES: Mapping[str, Shape] = {"mla": MlaShape(4, 256, 64, 32, 48), "attn": AttnShape(8, 2, 64)}


def case(backend: str, spec: str, family: str = "attn", **fields: Any) -> Case:
    shape = fields.pop("shape", SHAPES["mla" if family == "mla" else "attn"])
    return Case(family, backend, parse_batch_spec(spec), shape, "fp32", **fields)


MIXED = "3q1kv700_2q40kv90_q200"
LATENTS = MlaShape().for_cache_write()


@pytest.mark.parametrize("sets", [1, 7])
@pytest.mark.parametrize(
    "asked",
    [
        case("naive", MIXED),
        case("naive", "64q1kv700", window=16, block_size=32),
        case("sdpa", MIXED),
        case("torch", MIXED, "prefill-trtllm", kv_cache_dtype="fp8", query_dtype="fp8"),
        *(
            case(backend, MIXED, "mla", scope=scope, kv_cache_dtype=kv)
            for backend in ("torch-absorbed", "torch-mha")
            for scope in ("kernel", "layer")
            for kv in ("auto", "fp8_ds_mla")
        ),
        case("torch-absorbed", MIXED, "mla", scope="layer", knobs=(("threshold", 40),)),
        case("torch-absorbed", MIXED, "mla", index_topk=64),
        case("torch", "q300", "cache-write"),
        case("torch", "q300", "cache-write", kv_cache_dtype="fp8"),
        case("torch", "q2", "cache-write", block_size=32, knobs=(("num_blocks", 900),)),
        case("torch", "q300", "cache-write", shape=LATENTS, kv_cache_dtype="auto"),
    ],
    ids=lambda case: f"{case.family}-{case.backend}-{case.key[:6]}",
)
def test_what_is_foreseen_is_what_the_sets_hold(asked: Case, sets: int) -> None:
    prepared = find(asked.family, asked.backend).prepare(asked, Setting("cpu", sets, 0))
    for call in prepared.calls:
        call()
    foreseen = sum(memory_of(asked, sets, CPU).values())
    assert held_bytes(prepared) == pytest.approx(foreseen, rel=1e-4, abs=64)


def test_of_a_backend_that_cannot_say_whole_contexts_are_counted() -> None:
    class Silent(Naive):
        memory = Backend.memory  # type: ignore[assignment]

    asked = case("naive", "4q1kv1k", window=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "find", lambda *_: Silent())
        assert memory_of(asked, 3, CPU)["kv"] == 3 * 4 * 1024 * 2 * 2 * 64 * 4


GPT_OSS = AttnShape(64, 8, 64)
CONTEXT = 65536 * 576 * 2 / 2**30  # of prompts, in bf16
PARTS = 128 * 513 * 4 / 2**30  # fp32 outputs of a request's heads, of one split


def served(backend: str, spec: str, **fields: Any) -> Case:
    length = 163840 if "mla" in backend else 131072
    knobs = {"max_model_len": length, **fields.pop("knobs", {})}
    shape: Shape = MlaShape(128) if "mla" in backend else fields.pop("shape", GPT_OSS)
    family = "mla" if "mla" in backend else "attn"
    batch = parse_batch_spec(spec)
    return Case(family, backend, batch, shape, "bf16", knobs=tuple(knobs.items()), **fields)


@pytest.mark.parametrize(
    ("asked", "part", "gib"),
    [
        # 64 contexts of 128k, 8 KV heads of 64, keys and values in two bytes; a page in 20 is spare
        (served("flash", "64q1kv128k", window=128), "kv", 16 * 1.05),
        (served("flash", "64q1kv128k", window=128, kv_cache_dtype="fp8"), "kv", 8 * 1.05),
        # 264 splits, or as many as are asked for, of 64 requests with 128 heads
        (served("triton_mla", "64q1kv1k"), "workspaces", CONTEXT + 64 * 264 * PARTS),
        (
            served("triton_mla", "64q1kv1k", knobs={"num_splits": 2}),
            "workspaces",
            CONTEXT + 64 * 2 * PARTS,
        ),
        # prompts: for vLLM's usual 256 requests
        (served("triton_mla", "q1k"), "workspaces", CONTEXT + 256 * 264 * PARTS),
        (served("flashinfer", "q1k"), "workspaces", 394 / 1024),
        # a table as wide as the server's longest sequence
        (served("flash", "512q1kv1k"), "page tables", 512 * 131072 / 16 * 4 / 2**30),
    ],
)
def test_a_server_holds_what_its_limits_ask_for(asked: Case, part: str, gib: float) -> None:
    assert memory_of(asked, 1, H200)[part] / 2**30 == pytest.approx(gib, rel=0.05)


def test_each_set_of_vllms_mla_has_a_block_table() -> None:
    one, nine = (memory_of(served("flashmla", "256q1kv1k"), n, H200)["page tables"] for n in (1, 9))
    assert nine - one >= 8 * 256 * 163840 / 64 * 4


@pytest.mark.parametrize(
    ("asked", "sets"),
    [
        # cold by the window's bytes, which are 16.8 MB; the contexts of three sets fit into 0.4
        (served("flash", "64q1kv128k", window=128), 3),
        (served("flash", "64q1kv128k", window=128, kv_cache_dtype="fp8"), 6),
        (served("flash", "64q1kv1k"), 2),
        # one set alone is more than a fair part
        (served("flash", "512q1kv64k"), 1),
    ],
)
def test_sets_are_as_many_as_are_cold_and_fit_with_all_that_they_hold(
    asked: Case, sets: int
) -> None:
    assert working_sets(asked, H200, free=140 * 2**30) == sets


def test_a_cache_that_is_asked_for_limits_no_sets() -> None:
    plain = case("torch", "q2", "cache-write")
    large = case("torch", "q2", "cache-write", knobs=(("num_blocks", 400_000),))
    assert sum(memory_of(large, 1, CPU).values()) > memory.CPU_GROWTH
    sets = [working_sets(each, CPU, free=2**40) for each in (plain, large)]
    assert sets == [512, 512]


def test_beside_what_the_sets_share_they_take_no_more_than_is_free() -> None:
    asked = case("torch", "q2k", "cache-write", knobs=(("num_blocks", 40_000),))
    shared, one = (sum(memory_of(asked, sets, CPU).values()) for sets in (0, 1))
    free = int(shared + 3.5 * (one - shared))
    assert working_sets(asked, CPU, free=free) == 3


def test_a_cache_that_does_not_fit_is_refused_with_its_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda machine: 4 * 2**30)
    asked = small_case("cache-write", "torch", "q2", knobs=(("num_blocks", 2**20),), block_size=32)
    assert memory_refusal(asked, CPU) == (
        "needs at least 8.00 GiB of memory (cache 8.00 GiB); 4.00 GiB are free"
    )
