"""Every MLA backend of the installed vLLM and FlashInfer against the reference, eager and captured.

Few heads and short sequences, so that the file takes two minutes; page boundaries, tails and both
paths are in them.
"""

import importlib.util
from dataclasses import replace
from typing import Any

import pytest

from attnbench.kernels.base import Prepared, Refused, Setting
from attnbench.kernels.check import check, check_again
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine, read_machine
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case, KvDtype, Scope, Value
from attnbench.specs.shape import MlaShape
from attnbench.timing.cuda import GraphClock

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("default"),  # vLLM and what it imports have many
]

DEVICE = "cuda:0"
DECODES = ["5q1kv300", "3q4kv200"]
MIXED = "2q1kv130_q200"
ALL = [*DECODES, MIXED, "2q160kv200", "q300"]


def mla(
    backend: str,
    spec: str,
    scope: Scope = "layer",
    kv: KvDtype = "auto",
    heads: int = 16,
    topk: int | None = None,
    **knobs: Value,
) -> Case:
    return Case(
        "mla",
        backend,
        parse_batch_spec(spec),
        MlaShape(heads),
        "bf16",
        kv_cache_dtype=kv,
        scope=scope,
        index_topk=topk,
        knobs=tuple(knobs.items()),
    )


SCOPES: tuple[Scope, ...] = ("kernel", "layer")
KV_DTYPES: tuple[KvDtype, ...] = ("auto", "fp8")
CASES = [
    *(mla("flashmla", spec, scope) for spec in ALL for scope in SCOPES),
    *(mla("flashmla", spec, scope, kv="fp8") for spec in [*DECODES, MIXED] for scope in SCOPES),
    mla("flashmla", "3q1kv700", "kernel", heads=128),
    *(mla("flashattn_mla", spec, scope) for spec in [*ALL, "2q600kv700"] for scope in SCOPES),
    *(mla("triton_mla", spec, scope) for spec in ["5q1kv300", MIXED, "q300"] for scope in SCOPES),
    *(mla("triton_mla", "5q1kv300", scope, kv="fp8") for scope in SCOPES),
    *(
        mla(backend, spec, threshold=threshold)
        for backend in ("flashmla", "flashattn_mla")
        for spec in ("3q4kv200", "2q1kv130_3q4kv200_2q16kv90")
        for threshold in (1, 4, 16)
    ),
    *(mla("flashattn_mla", "5q1kv2k", "kernel", num_splits=count) for count in (1, 4, 32)),
    *(mla("triton_mla", "5q1kv2k", "kernel", num_splits=count) for count in (1, 8)),
    mla("flashattn_mla", "3q16kv200", threshold=1, prefill_backend="fa3"),
    *(
        mla("flashmla_sparse", spec, scope, topk=128)
        for spec in [*DECODES, MIXED]
        for scope in SCOPES
    ),
    *(
        mla("flashmla_sparse", spec, scope, kv="fp8_ds_mla", heads=heads, topk=128)
        for spec in [*DECODES, MIXED]
        for scope in SCOPES
        for heads in (16, 64)
    ),
    replace(mla("flashmla_sparse", "5q1kv300", topk=128), topk_pattern="window"),
    *(
        mla("flashattn_mla_sparse", spec, scope, topk=128)
        for spec in [*DECODES, MIXED]
        for scope in SCOPES
    ),
    *(
        mla(f"flashinfer-mla-{kernels}", spec, scope)
        for kernels in ("fa2", "fa3")
        for spec in [*DECODES, MIXED]
        for scope in SCOPES
    ),
    *(mla("flashinfer-ragged-fa3", spec, scope) for spec in ALL for scope in SCOPES),
    *(mla("torch-absorbed", MIXED, scope, kv=kv) for kv in KV_DTYPES for scope in SCOPES),
    mla("torch-absorbed", MIXED, kv="fp8_ds_mla", topk=128),
    *(mla("torch-mha", MIXED, scope) for scope in SCOPES),
]


def named(case: Case) -> str:
    words = [case.backend, str(case.batch), case.scope, case.kv_cache_dtype]
    words += [f"{name}{value}" for name, value in case.knobs]
    return "-".join([*words, f"h{case.shape.num_q_heads}"])


@pytest.fixture(scope="module")
def machine() -> Machine:
    return read_machine(DEVICE)


def prepared(case: Case, machine: Machine, sets: int = 3) -> Prepared:
    backend = find("mla", case.backend)
    if importlib.util.find_spec(backend.module) is None:
        pytest.skip(f"needs {backend.module}")
    if reason := backend.refusal(case, machine):
        pytest.skip(reason)
    return backend.prepare(case, Setting(DEVICE, sets, seed=0))


@pytest.mark.parametrize("case", CASES, ids=named)
def test_mla_agrees_with_the_reference_eager_and_from_a_graph(case: Case, machine: Machine) -> None:
    import torch

    with torch.inference_mode():
        ready = prepared(case, machine)
        check(ready, seed=1)
        clock = GraphClock(ready.calls, DEVICE)
        for index in range(3):
            ready.poison(index)
        assert clock.sample() > 0
        torch.cuda.synchronize()
        check_again(ready, launched=3, seed=2)
        torch.cuda.empty_cache()


@pytest.mark.parametrize("backend", ["triton_mla", "flashmla", "flashattn_mla"])
def test_a_hot_decode_writes_where_the_one_before_it_wrote(backend: str, machine: Machine) -> None:
    import torch

    with torch.inference_mode():
        ready: Any = prepared(mla(backend, "5q1kv300", "kernel"), machine, sets=1)
        written = set[int]()
        with torch.cuda.graph(torch.cuda.CUDAGraph()):
            for _ in range(4):
                ready.calls[0]()
                written.add(ready.decode_outputs[0].data_ptr())
    assert len(written) == 1


@pytest.mark.parametrize("backend", ["triton_mla", "flashmla", "flashattn_mla"])
def test_a_prefill_that_cannot_be_had_is_refused_and_not_replaced(
    backend: str, machine: Machine
) -> None:
    for name in ("flashinfer", "trtllm", "tokenspeed", "cudnn"):
        case = mla(backend, "q300", prefill_backend=name, threshold=1)
        reason = find("mla", backend).refusal(case, machine)
        assert reason is not None
        assert "SM100" in reason or "since 0.22" in reason


def test_the_prefill_that_was_asked_for_runs_or_is_refused(machine: Machine) -> None:
    import torch

    for name in ("fa2", "fa3", "fa4"):
        case = mla("flashattn_mla", "q300", prefill_backend=name, threshold=1)
        try:
            with torch.inference_mode():
                ready = prepared(case, machine)
        except Refused as refused:
            assert "FlashAttention" in str(refused) or "asked for the prefill" in str(refused)  # noqa: PT017
        else:
            assert ready.resolved["prefill_backend"] == f"FLASH_ATTN {name}"


def test_fp8_ds_mla_is_what_vllm_writes(machine: Machine) -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("needs vllm")
    import torch

    from attnbench.kernels.mla_base.formats import decode, encode
    from attnbench.kernels.vllm.startup import prepare_environment

    prepare_environment()
    from vllm import _custom_ops as ops

    latents = torch.randn((100, 576), dtype=torch.bfloat16, device=DEVICE)
    pages = torch.zeros((2, 64, 656), dtype=torch.uint8, device=DEVICE)
    slots, scale = torch.arange(100, device=DEVICE), torch.ones(1, device=DEVICE)
    ops.concat_and_cache_mla(
        latents[:, :512].contiguous(),
        latents[:, 512:].contiguous(),
        pages,
        slots,
        "fp8_ds_mla",
        scale,
    )
    theirs, ours = pages.flatten(0, 1)[:100], encode(latents, MlaShape(), "fp8_ds_mla")
    assert torch.equal(theirs[:, 528:], ours[:, 528:])
    scales = [each[:, 512:528].contiguous().view(torch.float32) for each in (theirs, ours)]
    torch.testing.assert_close(*scales, rtol=1e-6, atol=0)
    read = [decode(each, MlaShape(), "fp8_ds_mla", torch.float32) for each in (theirs, ours)]
    same = (read[0] - read[1]).abs() <= 1e-5 * read[1].abs()
    assert same.float().mean() > 0.99  # a value between two steps may round to either
