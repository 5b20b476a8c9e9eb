"""Memory foreseen, beside what preparing and a first call take of the GPU at their height."""

import gc
import sys
from importlib.util import find_spec
from typing import Any

import pytest
import torch

from attnbench.kernels.base import Setting
from attnbench.kernels.registry import find
from attnbench.provenance.machine import read_machine
from attnbench.running.memory import memory_of, working_sets
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape, MlaShape, Shape

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]

DEVICE = "cuda:0"
GPT_OSS, LLAMA, DEEPSEEK = AttnShape(64, 8, 64), AttnShape(32, 8, 128), MlaShape(128)
HELD_BY_VLLM = pytest.mark.skipif(find_spec("vllm") is None, reason="needs vLLM")


def case(backend: str, spec: str, shape: Shape, family: str = "", **fields: Any) -> Case:
    knobs = tuple(fields.pop("knobs", {}).items())
    family = family or ("mla" if isinstance(shape, MlaShape) else "attn")
    return Case(family, backend, parse_batch_spec(spec), shape, "bf16", knobs=knobs, **fields)


def server(length: int, **more: Any) -> dict[str, Any]:
    return {"max_model_len": length, **more}


CASES = [
    case("naive", "64q1kv8k", LLAMA),
    case("sdpa", "64q1kv8k", LLAMA),
    case("torch-absorbed", "16q1kv8k", DEEPSEEK),
    case("torch-mha", "q2k", DEEPSEEK),
    case("flashinfer-fa2", "64q1kv8k", LLAMA),
    case("flashinfer-mla-fa3", "64q1kv32k", DEEPSEEK),
    case("fa3", "8q8k", LLAMA, "prefill-trtllm"),
    case("cuda", "q2", LLAMA, "cache-write", block_size=32, knobs={"num_blocks": 65536}),
    *(
        pytest.param(each, marks=HELD_BY_VLLM)
        for each in [
            case("flash", "64q1kv32k", GPT_OSS, window=128, sinks=True, knobs=server(131072)),
            case("flash", "64q1kv8k", LLAMA, kv_cache_dtype="fp8", knobs=server(131072)),
            case("flash", "512q1kv2k", LLAMA, knobs=server(131072)),
            case("flash", "8q8k", LLAMA, scope="layer", knobs=server(131072)),
            case("triton", "64q1kv8k", LLAMA, knobs=server(131072)),
            case("flashinfer", "64q1kv8k", LLAMA, knobs=server(131072, decode_kernel="native")),
            case("flashattn_mla", "64q1kv32k", DEEPSEEK, knobs=server(163840)),
            case("flashmla", "64q1kv32k", DEEPSEEK, kv_cache_dtype="fp8", knobs=server(163840)),
            case("triton_mla", "64q1kv8k", DEEPSEEK, knobs=server(163840)),
            case("flashmla_sparse", "64q1kv32k", DEEPSEEK, index_topk=2048, knobs=server(163840)),
        ]
    ),
]


@pytest.mark.parametrize("asked", CASES, ids=lambda each: f"{each.backend}-{each.batch}")
def test_what_is_foreseen_is_what_the_gpu_gives(asked: Case) -> None:
    machine, backend = read_machine(DEVICE), find(asked.family, asked.backend)
    if reason := backend.refusal(asked, machine):
        pytest.skip(reason)
    _forget_workspaces()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    sets = working_sets(asked, machine)
    with torch.inference_mode():
        ready = backend.prepare(asked, Setting(DEVICE, sets, seed=0))
        held = torch.cuda.memory_allocated() - before
        ready.calls[0]()
        peak = torch.cuda.max_memory_allocated() - before
    foreseen = memory_of(asked, sets, machine)
    said = f"{sets} sets, held {held / 2**30:.2f} GiB, at most {peak / 2**30:.2f} GiB: {foreseen}"
    total = sum(foreseen.values())
    assert 0.8 * total <= held <= 1.1 * total + 2**28, said
    gathered = (
        2 * foreseen["kv"] if asked.backend == "naive" else 0
    )  # pages, then each product's copy
    assert peak <= 1.5 * total + gathered + 2**30, said


def _forget_workspaces() -> None:
    """Those that vLLM shares between cases would be there already."""
    gc.collect()
    torch.cuda.empty_cache()
    workspace = sys.modules.get("vllm.v1.worker.workspace")
    if workspace is not None and workspace.is_workspace_manager_initialized():
        workspace.reset_workspace_manager()
        workspace.init_workspace_manager(torch.device(DEVICE))
