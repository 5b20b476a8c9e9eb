"""Decodes as a server captures them, on a GPU: right, and by the kernels that a server runs."""

from importlib.util import find_spec
from typing import Any

import pytest
import torch

from attnbench.kernels.base import Refused, Setting
from attnbench.kernels.check import check, check_again
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine, read_machine
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape, MlaShape, Shape
from attnbench.timing.cuda import GraphClock

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(find_spec("vllm") is None, reason="needs vLLM"),
    pytest.mark.filterwarnings("default"),  # vLLM and what it imports have many
]

DEVICE = "cuda:0"
LLAMA, DEEPSEEK = 131072, 163840  # their max_model_len
PADDED = ["5q1kv300", "33q1kv129", "q1"]  # to 8, to 40, and not at all
GPT_OSS = AttnShape(16, 2, 64)


@pytest.fixture(scope="module")
def machine() -> Machine:
    return read_machine(DEVICE)


def case(backend: str, spec: str, knobs: Any = (), **others: Any) -> Case:
    """Of a server; a knob that is None is left out."""
    mla = "mla" in backend
    usual = {"flashinfer": {"decode_kernel": "served"}}.get(backend, {})
    knobs = {"max_model_len": DEEPSEEK if mla else LLAMA, **usual, **dict(knobs)}
    shape: Shape = others.pop("shape", MlaShape(16) if mla else AttnShape(8, 2, 128))
    return Case(
        "mla" if mla else "attn",
        backend,
        parse_batch_spec(spec),
        shape,
        "bf16",
        knobs=tuple((name, value) for name, value in knobs.items() if value is not None),
        **others,
    )


def held(asked: Case, machine: Machine, *, graphs: bool = True) -> tuple[Any, tuple[str, ...]]:
    """Right eagerly and, of every set, from a graph; with the names of the graph's kernels."""
    backend = find(asked.family, asked.backend)
    try:
        if reason := backend.refusal(asked, machine):
            raise Refused(reason)
        with torch.inference_mode():
            ready = backend.prepare(asked, Setting(DEVICE, 3, seed=0, graphs=graphs))
            check(ready, seed=1)
            clock = GraphClock(ready.calls, DEVICE)
            for index in range(3):
                ready.poison(index)
            assert clock.sample() > 0
            torch.cuda.synchronize()
            check_again(ready, launched=3, seed=2)
            torch.cuda.empty_cache()
    except Refused as refused:
        if machine.capability == (9, 0):
            raise
        pytest.skip(str(refused))
    return ready, clock.kernels


@pytest.mark.parametrize("spec", PADDED)
@pytest.mark.parametrize("backend", ["flash", "triton", "flashinfer", "flex"])
def test_a_padded_decode_over_a_wide_table_is_right(
    backend: str, spec: str, machine: Machine
) -> None:
    ready, _ = held(case(backend, spec), machine)
    count = {5: 8, 33: 40, 1: 1}[len(ready.batch)]
    assert ready.resolved["padded_to"] == count
    assert ready.resolved["max_model_len"] == LLAMA


@pytest.mark.parametrize("scope", ["kernel", "layer"])
@pytest.mark.parametrize("spec", PADDED)
@pytest.mark.parametrize(
    "backend",
    ["flashattn_mla", "flashmla", "triton_mla", "flashmla_sparse", "flashattn_mla_sparse"],
)
def test_a_padded_mla_decode_over_a_wide_table_is_right(
    backend: str, spec: str, scope: str, machine: Machine
) -> None:
    needs = dict.fromkeys(find("mla", backend).needs, 128)
    ready, _ = held(case(backend, spec, scope=scope, **needs), machine)
    assert ready.resolved["padded_to"] == {5: 8, 33: 40, 1: 1}[len(ready.batch)]
    page = 16 if backend in ("flashattn_mla", "triton_mla") else 64
    assert ready.resolved["block_size"] == page


@pytest.mark.parametrize("backend", ["flashattn_mla", "flashmla", "triton_mla", "flash", "triton"])
@pytest.mark.parametrize("spec", ["5q1kv300", "2q1kv130_q200", "q300"])
@pytest.mark.parametrize("graphs", [True, False])
def test_other_batches_are_right_over_wide_tables_too(
    backend: str, spec: str, graphs: bool, machine: Machine
) -> None:
    held(case(backend, spec, {"unpadded": True}), machine, graphs=graphs)


@pytest.mark.parametrize("scope", ["kernel", "layer"])
@pytest.mark.parametrize("backend", ["flash", "triton", "flashinfer"])
def test_padding_writes_nothing_to_the_cache(backend: str, scope: str, machine: Machine) -> None:
    held(case(backend, "5q1kv300", scope=scope), machine)


@pytest.mark.parametrize("backend", ["flashmla", "triton_mla"])
@pytest.mark.parametrize("scope", ["kernel", "layer"])
def test_a_padded_decode_over_an_fp8_cache_is_right(
    backend: str, scope: str, machine: Machine
) -> None:
    held(case(backend, "5q1kv300", scope=scope, kv_cache_dtype="fp8"), machine)


@pytest.mark.parametrize("backend", ["flash", "triton"])
def test_a_padded_fp8_decode_is_right(backend: str, machine: Machine) -> None:
    held(case(backend, "33q1kv129", kv_cache_dtype="fp8"), machine)


@pytest.mark.parametrize("limit", [DEEPSEEK, 32768, 4096])
def test_triton_mla_splits_by_the_servers_length_not_the_batchs(
    limit: int, machine: Machine
) -> None:
    ready, _ = held(case("triton_mla", "5q1kv300", {"max_model_len": limit}), machine)
    most = 2 * (machine.sm_count or 0)
    assert ready.resolved["num_kv_splits"] == min(1 << (limit // 512 - 1).bit_length(), most)


@pytest.mark.parametrize("splits", [3, 216, 264])
def test_triton_mla_takes_any_number_of_splits(splits: int, machine: Machine) -> None:
    ready, _ = held(case("triton_mla", "5q1kv2k", {"num_splits": splits}), machine)
    assert ready.resolved["num_kv_splits"] == splits


@pytest.mark.parametrize("splits", [1, 4])
def test_named_splits_are_taken_by_a_captured_decode(splits: int, machine: Machine) -> None:
    for backend in ("flash", "flashattn_mla"):
        ready, _ = held(case(backend, "5q1kv2k", {"num_splits": splits}), machine)
        assert ready.resolved["max_num_splits"] == splits


@pytest.mark.parametrize("window", [128, 4096])
@pytest.mark.parametrize("spec", ["5q1kv300", "8q1kv1k"])
@pytest.mark.parametrize("backend", ["flash", "triton"])
def test_a_window_is_right_where_the_server_allows_more_than_the_batch(
    backend: str, spec: str, window: int, machine: Machine
) -> None:
    held(case(backend, spec, window=window), machine)


SCHEDULES = "prepare_varlen"  # FlashAttention 3's own kernel


@pytest.mark.parametrize("window", [None, 128])
def test_layers_of_several_windows_schedule_in_each_call(
    window: int | None, machine: Machine
) -> None:
    one, several = (
        held(
            case("flash", "8q1kv1k", {"mixed_windows": mixed}, window=window, shape=GPT_OSS),
            machine,
        )
        for mixed in (None, True)
    )
    assert one[0].resolved["scheduled"] == "ahead"
    assert several[0].resolved["scheduled"] == "in each call"
    if one[1]:  # the driver tells names
        assert not any(SCHEDULES in name for name in one[1])
        assert any(SCHEDULES in name for name in several[1])


def hopper(machine: Machine) -> None:
    if machine.capability != (9, 0):
        pytest.skip("XQA is what SM90 is served by")


@pytest.mark.parametrize("kv_cache_dtype", ["auto", "fp8"])
@pytest.mark.parametrize("layout", ["NHD", "HND"])
@pytest.mark.parametrize("spec", ["5q1kv300", "64q1kv1k", "2q1kv130_q200"])
def test_flashinfer_is_served_by_xqa_on_hopper(
    spec: str, layout: str, kv_cache_dtype: str, machine: Machine
) -> None:
    hopper(machine)
    asked = case("flashinfer", spec, kv_cache_dtype=kv_cache_dtype, layout=layout)
    ready, kernels = held(asked, machine)
    assert ready.resolved["decode_kernel"] == "xqa"
    assert ready.resolved["query_dtype"] == "bfloat16"
    assert not kernels or any("kernel_mha" in name for name in kernels)


@pytest.mark.parametrize("limit", [LLAMA, None], ids=["served", "bare"])
@pytest.mark.parametrize(("kv_cache_dtype", "kernel"), [("auto", "fa2"), ("fp8", "fa3")])
def test_flashinfers_native_decode_can_be_had(
    limit: int | None, kv_cache_dtype: str, kernel: str, machine: Machine
) -> None:
    hopper(machine)
    knobs = {"max_model_len": limit, "decode_kernel": "native"}
    ready, kernels = held(
        case("flashinfer", "5q1kv300", knobs, kv_cache_dtype=kv_cache_dtype), machine
    )
    assert ready.resolved["decode_kernel"] == kernel
    assert not any("kernel_mha" in name for name in kernels)


def test_planning_again_changes_nothing_of_a_captured_batch(machine: Machine) -> None:
    for backend in ("flash", "triton", "flashattn_mla", "flashmla", "triton_mla"):
        with torch.inference_mode():
            asked = case(backend, "5q1kv300")
            if find(asked.family, backend).refusal(asked, machine) is None:
                ready = find(asked.family, backend).prepare(asked, Setting(DEVICE, 2, seed=0))
                ready.plan()  # type: ignore[misc]
                check(ready, seed=3)
