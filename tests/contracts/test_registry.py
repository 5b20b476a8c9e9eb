"""Every backend of the installed vLLM's registry, on every path: driven, or refused by vLLM."""

import json
import re
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import pytest
import torch

from attnbench.kernels.base import FEATURES, Setting
from attnbench.kernels.registry import find
from attnbench.kernels.vllm.attention import VllmAttention
from attnbench.kernels.vllm.mla_backend import VllmMlaBackend
from attnbench.kernels.vllm.registry import USUAL_BLOCK_SIZE, backend_class, block_size
from attnbench.kernels.vllm.startup import activate
from attnbench.specs.shape import AttnShape
from scripts.registry_tables import SURVEY
from tests.contracts.driven import (
    BATCHES,
    DRIVEN,
    SERVER,
    VllmBackend,
    case_of,
    offered,
    outcome,
    vllms_complaints,
)
from tests.contracts.faked_device import GENERATION
from tests.contracts.no_kernels import KernelReached, NoKernels

# Refusals of ours, by entry and generation (all if empty), of what vLLM's check lets pass.
OURS: dict[str, tuple[set[str], str]] = {
    "FLASHINFER": (
        {"SM90", "SM100"},
        "does not pass --softcap to (xqa|trtllm)|has no native kernel for fp8 queries",
    ),
    # In 0.25.1, which asks FlashInfer for an argument that its own release of it does not have.
    "FLASHINFER_MLA_SPARSE_SM120": ({"SM120"}, "fails with TypeError: trtllm_batch_decode_with"),
}
# What docs/lab/vllm.md says of this release; None for a release that it does not have.
SURVEYED = json.loads(SURVEY.read_text()).get(version("vllm"), {}).get(GENERATION)
ASKED: dict[str, dict[str, object]] = {
    "fp8": {"kv_cache_dtype": "fp8"},
    "bare fp8": {"knobs": (), "kv_cache_dtype": "fp8"},
    "fp8_ds_mla": {"kv_cache_dtype": "fp8_ds_mla"},
    "window": {"window": 20},
    "softcap": {"softcap": 30.0},
    "sinks": {"sinks": True},
    "layer": {"scope": "layer"},
    "bare": {"knobs": ()},
}


def is_known(backend: VllmBackend, sentence: str) -> bool:
    generations, known = OURS.get(backend.enum, (set(), "$"))
    return (not generations or GENERATION in generations) and bool(re.match(known, sentence))


def check(backend: VllmBackend, path: str, fields: dict[str, object], left_out: NoKernels) -> str:
    """What vLLM accepts is driven, unless vLLM refuses it later in its own words."""
    case = case_of(backend, path, **fields)
    found = outcome(backend, case, left_out)
    if vllms_complaints(backend, case):
        assert found != DRIVEN
        assert "fails with" not in found
    elif not found.startswith(f"vLLM's {backend.enum} says: ") and not is_known(backend, found):
        assert found == DRIVEN
    return found


@pytest.mark.parametrize("path", BATCHES)
@pytest.mark.parametrize("backend", offered(), ids=lambda backend: backend.enum)
def test_a_backend_that_vllm_accepts_is_driven_up_to_its_kernels(
    backend: VllmBackend, path: str, left_out: NoKernels
) -> None:
    found = check(backend, path, {}, left_out)
    if SURVEYED is not None:
        stored = [each for each, paths in SURVEYED[backend.enum].items() if path in paths]
        assert stored == [found], "other than on the page; run: make registry"


def test_pages_are_those_of_the_case_whatever_was_prepared_before() -> None:
    """FlashAttention 4 takes larger pages for some heads; 0.33 tells by the current config."""
    backend = find("attn", "flash")
    assert isinstance(backend, VllmAttention)
    wide = replace(case_of(backend, "decode"), shape=AttnShape(8, 2, 256))
    activate(backend.config(wide, USUAL_BLOCK_SIZE, graphs=True))
    expected = block_size(backend_class("FLASH_ATTN"), None, USUAL_BLOCK_SIZE)
    for case in (case_of(backend, "decode"), wide):
        ready = backend.prepare(case, Setting("cpu", 1, seed=0))
    assert ready.resolved["block_size"] == expected


def named(metadata: Any, name: str) -> list[Any]:
    """All values of that name in a backend's metadata and its part for decodes."""
    parts = [part for part in (metadata, getattr(metadata, "decode", None)) if part is not None]
    return [value for part in parts for key, value in vars(part).items() if re.match(name, key)]


@pytest.mark.parametrize("backend", offered(), ids=lambda backend: backend.enum)
def test_a_captured_decode_is_of_the_servers_longest_sequence(
    backend: VllmBackend, left_out: NoKernels
) -> None:
    """CUTLASS_MLA splits by the width of its table, trtllm-gen and XQA by the length."""
    if backend.enum == "FLEX_ATTENTION":
        pytest.skip("vLLM's builder takes the batch's own length")
    served = {"decode_kernel": "served"} if "decode_kernel" in backend.knobs else {}
    case = case_of(backend, "decode", knobs=(*SERVER, *served.items()))
    if outcome(backend, case, left_out) != DRIVEN:
        pytest.skip("not driven on this GPU")
    with torch.inference_mode():
        ready: Any = backend.prepare(case, Setting("cpu", 1, seed=0))
    if not ready.served.captured:
        pytest.skip("vLLM does not capture it")
    metadata = ready.metadata[0] if isinstance(ready.metadata, list) else ready.metadata
    limit = dict(SERVER)["max_model_len"]
    if ready.resolved.get("decode_kernel", "xqa") in ("xqa", "trtllm"):  # native ones have no table
        tables = [each for each in named(metadata, "(block|page)_tables?$") if each is not None]
        assert {table.shape[1] for table in tables} == {limit // ready.resolved["block_size"]}
    assert {int(each) for each in named(metadata, "max_seq_len(_k)?$")} <= {limit}


@pytest.mark.skipif(GENERATION != "SM100", reason="of Blackwell alone")
@pytest.mark.parametrize("kv_cache_dtype", ["auto", "fp8"])
def test_cutlass_reads_queries_from_memory_laid_out_as_the_layers(
    kv_cache_dtype: str, left_out: NoKernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For 128 heads, however few there are: its tile has as many."""
    backend = find("mla", "cutlass_mla")
    assert isinstance(backend, VllmMlaBackend)
    given = []

    def forward_mqa(impl: object, queries: Any, *_: object) -> None:
        parts = queries if isinstance(queries, tuple) else (queries,)
        given.append([(each.dtype, each.shape, each.stride()) for each in parts])
        for each in parts if len(parts) == 2 else ():
            for_all = each[:, 0].numel() * 128 * each.itemsize
            assert each.untyped_storage().nbytes() == for_all
        raise KernelReached

    for scope in ("kernel", "layer"):
        case = case_of(backend, "decode", scope=scope, kv_cache_dtype=kv_cache_dtype)
        ready = backend.prepare(case, Setting("cpu", 1, seed=0))
        monkeypatch.setattr(type(ready.impl), "forward_mqa", forward_mqa)
        left_out.launch(ready.calls)
    assert given[0] == given[1]


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("backend", offered(), ids=lambda backend: backend.enum)
def test_so_it_is_with_every_feature_that_it_is_said_to_have(
    backend: VllmBackend, asked: str, left_out: NoKernels
) -> None:
    fields = ASKED[asked]
    if fields.get("kv_cache_dtype", "auto") not in ("auto", *backend.kv_cache_dtypes):
        pytest.skip("not said to have it")
    if fields.keys() & set(FEATURES) - backend.features:
        pytest.skip("not said to have it")
    check(backend, "mixed", fields, left_out)
