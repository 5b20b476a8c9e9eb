"""How far attnbench drives the backends of the installed vLLM's registry, on the faked GPU."""

from typing import Any

import torch

from attnbench.kernels.base import Refused, Setting
from attnbench.kernels.inputs import torch_dtype
from attnbench.kernels.registry import backends
from attnbench.kernels.vllm.attention import VllmAttention
from attnbench.kernels.vllm.mla_backend import VllmMlaBackend
from attnbench.kernels.vllm.registry import (
    USUAL_BLOCK_SIZE,
    Configuration,
    backend_class,
    complaints,
)
from attnbench.kernels.vllm.selector import selected
from attnbench.kernels.vllm.startup import activate
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.models import ATTN_MODELS
from attnbench.specs.shape import AttnShape, MlaShape, Shape
from tests.contracts.faked_device import GPU
from tests.contracts.no_kernels import NoKernels

DRIVEN = "driven"
# A batch for each path through a backend; the last has more keys than a sparse backend selects.
BATCHES = {
    "decode": "4q1kv100",
    "extend": "2q16kv90",
    "prefill": "2q200",
    "mixed": "3q1kv100_2q16kv90_q200",
    "long": "q2500",
}
SERVER = (("max_model_len", 4096),)
# Cases that vLLM's selector is asked about, on the page of releases.
QUESTIONS: dict[str, tuple[Shape, dict[str, Any]]] = {
    "Llama": (ATTN_MODELS["llama3-8b"].shape, {}),
    "Llama, fp8 cache": (ATTN_MODELS["llama3-8b"].shape, {"kv_cache_dtype": "fp8"}),
    "Llama, pages of 128": (ATTN_MODELS["llama3-8b"].shape, {"block_size": 128}),
    "window": (ATTN_MODELS["llama3-8b"].shape, {"window": 128}),
    "sinks and a window": (AttnShape(64, 8, 64), {"sinks": True, "window": 128}),
    "heads of 256": (AttnShape(16, 8, 256), {}),
    "DeepSeek": (MlaShape(128), {}),
    "DeepSeek, 16 heads": (MlaShape(16), {}),
    "DeepSeek, fp8 cache": (MlaShape(128), {"kv_cache_dtype": "fp8"}),
    "DeepSeek, top 2048": (MlaShape(128), {"index_topk": 2048}),
    "DeepSeek, top 2048, fp8 cache": (
        MlaShape(128),
        {"index_topk": 2048, "kv_cache_dtype": "fp8_ds_mla"},
    ),
}
VllmBackend = VllmAttention | VllmMlaBackend


def offered() -> list[VllmBackend]:
    """All backends of vLLM's registry that attnbench offers."""
    found = [*backends("attn"), *backends("mla")]
    return [each for each in found if isinstance(each, VllmBackend)]


def case_of(backend: VllmBackend, path: str, **fields: Any) -> Case:
    """A small case of a server with Llama's or DeepSeek's dims."""
    latent = isinstance(backend, VllmMlaBackend)
    family, shape = ("mla", MlaShape(16)) if latent else ("attn", AttnShape(8, 2, 128))
    usual = backend.kv_cache_dtypes[0]  # not auto for those that take fp8 alone
    fields = {"kv_cache_dtype": usual, "knobs": SERVER, **backend.needs, **fields}
    return Case(family, backend.name, parse_batch_spec(BATCHES[path]), shape, "bf16", **fields)


def outcome(backend: VllmBackend, case: Case, left_out: NoKernels) -> str:
    """ "driven" if all calls of a case reach their kernels, else a sentence."""
    if why := backend.refusal(case, GPU.machine):
        return why
    try:
        with torch.inference_mode():
            ready = backend.prepare(case, Setting("cpu", 2, seed=0))
            left_out.launch(ready.calls)
    except Refused as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - whatever vLLM raises
        first_line = next(iter(str(error).splitlines()), "")
        return f"fails with {type(error).__name__}: {first_line}"
    return DRIVEN


def vllms_complaints(backend: VllmBackend, case: Case) -> list[str]:
    """The reasons of vLLM's own check against a case, whatever attnbench thinks of it."""
    if isinstance(backend, VllmMlaBackend):
        return backend.complaints(case, GPU.machine)
    cls = backend_class(backend.enum)
    assert isinstance(case.shape, AttnShape)
    activate(backend.config(case, USUAL_BLOCK_SIZE, graphs=True))
    asked = Configuration(
        head_size=case.shape.head_dim,
        dtype=torch_dtype(case.dtype),
        kv_cache_dtype=case.kv_cache_dtype,
        has_sink=case.sinks,
        has_sliding_window=case.window is not None,
    )
    return complaints(cls, asked, GPU.machine)


def question(name: str) -> Case:
    """The case of a question to vLLM's selector."""
    shape, fields = QUESTIONS[name]
    family = "mla" if isinstance(shape, MlaShape) else "attn"
    return Case(family, "auto", parse_batch_spec("4q1kv100"), shape, "bf16", **fields)


def chosen(name: str) -> str:
    """The entry that vLLM's selector takes, or "none"."""
    try:
        return selected(question(name))
    except Refused:
        return "none"


def surveyed(left_out: NoKernels) -> dict[str, dict[str, list[str]]]:
    """By entry of the registry, the paths with each outcome: "driven" or a sentence."""
    found: dict[str, dict[str, list[str]]] = {}
    for backend in offered():
        of_entry = found.setdefault(backend.enum, {})
        for path in BATCHES:
            of_entry.setdefault(outcome(backend, case_of(backend, path), left_out), []).append(path)
    return found
