"""Every backend of a Hopper with new inputs in the graph that was timed, and with old results."""

import gc
import importlib.util
from typing import Any

import pytest
import torch

from attnbench.kernels.base import Backend, Refused, Setting
from attnbench.kernels.check import WrongResult, check
from attnbench.kernels.registry import backends, find
from attnbench.provenance.machine import Machine, read_machine
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.quant import QUANTS
from attnbench.specs.shape import AttnShape, MlaShape, Shape
from tests.stale import go_stale, measured

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("default"),  # vLLM and what it imports have many
]

DEVICE, SETS = "cuda:0", 3
MIXED, DECODES, PROMPT = "2q1kv130_q200", "5q1kv300", "q300"
SHAPES: dict[str, Shape] = {
    "attn": AttnShape(8, 2, 128),
    "prefill-trtllm": AttnShape(16, 4, 128),
    "mla": MlaShape(16),
    "cache-write": AttnShape(8, 8, 128),
}
SERVED = (("max_model_len", 8192),)
# By family, fields of a case; a backend runs those that it does not refuse.
ASKED: dict[str, list[dict[str, Any]]] = {
    "attn": [
        {"batch": MIXED},
        {"batch": DECODES},
        {"batch": DECODES, "kv_cache_dtype": "fp8"},
        {"batch": DECODES, "kv_cache_dtype": "fp8", "scope": "layer"},
        {"batch": MIXED, "scope": "layer"},
        {"batch": DECODES, "knobs": SERVED},
        {"batch": DECODES, "kv_cache_dtype": "fp8", "knobs": SERVED},
    ],
    "mla": [
        {"batch": spec, "scope": scope, "kv_cache_dtype": kv, "index_topk": topk}
        for spec, kv, topk in (
            (DECODES, "auto", None),
            (MIXED, "auto", None),
            (PROMPT, "auto", None),
            (MIXED, "fp8", None),
            (MIXED, "auto", 128),
            (MIXED, "fp8_ds_mla", 128),
        )
        for scope in ("kernel", "layer")
    ],
    "prefill-trtllm": [{"batch": "q100kv330_q300", **quant} for quant in QUANTS.values()],
    "cache-write": [
        *({"batch": "q300", "kv_cache_dtype": kv} for kv in ("auto", "fp8")),
        *(
            {"batch": "q300", "kv_cache_dtype": kv, "shape": MlaShape().for_cache_write()}
            for kv in ("auto", "fp8", "fp8_ds_mla")
        ),
    ],
}
NAMES = [(family, each.name) for family in ASKED for each in backends(family)]


@pytest.fixture(scope="module")
def machine() -> Machine:
    return read_machine(DEVICE)


def case_of(family: str, backend: Backend, fields: dict[str, Any]) -> Case:
    given: dict[str, Any] = {"shape": SHAPES[family], "dtype": "bf16", **fields}
    return Case(family, backend.name, **{**given, "batch": parse_batch_spec(given["batch"])})


@pytest.mark.parametrize(("family", "name"), NAMES)
def test_new_inputs_reach_the_graph_and_old_results_are_found(
    family: str, name: str, machine: Machine
) -> None:
    backend, driven, why = find(family, name), 0, ""
    if importlib.util.find_spec(backend.module) is None:
        pytest.skip(f"needs {backend.module}")
    for fields in ASKED[family]:
        case = case_of(family, backend, fields)
        if reason := backend.refusal(case, machine):
            why = reason
            continue
        try:
            with torch.inference_mode():
                _hold(backend, case, machine)
        except Refused as refused:  # some find out only where vLLM builds their layer
            why = str(refused)
            continue
        driven += 1
        gc.collect()
        torch.cuda.empty_cache()
    if not driven:
        pytest.skip(why)


def _hold(backend: Backend, case: Case, machine: Machine) -> None:
    ready = backend.prepare(case, Setting(DEVICE, SETS, seed=0))
    assert ready.renewable
    check(ready, seed=1)
    measured(ready, machine, seed=1)
    go_stale(ready)
    with pytest.raises(WrongResult, match=r"^launched again with"):
        measured(ready, machine, seed=2)
