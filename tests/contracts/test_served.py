"""What a server adds to a batch, held against the installed vLLM where no kernel is launched."""

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from attnbench.kernels.attn import vllm_flashinfer
from attnbench.kernels.base import Setting
from attnbench.kernels.inputs import seeded
from attnbench.kernels.registry import backends, find
from attnbench.kernels.vllm.attention_prepared import VllmPrepared
from attnbench.kernels.vllm.config import LayerConfig, vllm_config
from attnbench.kernels.vllm.flashinfer_decode import CUBINS_VARIABLE, decide_as_served
from attnbench.kernels.vllm.mla_backend import VllmMlaBackend
from attnbench.kernels.vllm.mla_prepared import VllmMlaPrepared
from attnbench.kernels.vllm.registry import (
    USUAL_BLOCK_SIZE,
    Unavailable,
    backend_class,
    block_size,
)
from attnbench.kernels.vllm.served import graph_size
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case, Scope, Value
from attnbench.specs.shape import AttnShape, MlaShape

LLAMA, DEEPSEEK = 131072, 163840  # their max_model_len
SERVED = {"decode_kernel": "served"}


def attn(backend: str, spec: str = "5q1kv40", knobs: Any = (), **others: Any) -> Case:
    knobs = {"max_model_len": LLAMA, **dict(knobs)}
    batch, shape = parse_batch_spec(spec), AttnShape(8, 2, 128)
    return Case("attn", backend, batch, shape, "bf16", knobs=tuple(knobs.items()), **others)


def prepared(case: Case, sets: int = 2, *, graphs: bool = True) -> Any:
    with torch.inference_mode():
        return find(case.family, case.backend).prepare(case, Setting("cpu", sets, 0, graphs))


def next_power_of_2(number: int) -> int:
    return 1 << (number - 1).bit_length()


@pytest.fixture
def unlaunched(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel is launched or compiled, and no memory pinned: there is no driver."""
    from vllm.v1.attention.backends.mla import triton_mla

    monkeypatch.setattr(VllmMlaPrepared, "_first_pass", lambda _: None)
    monkeypatch.setattr(vllm_flashinfer, "build_xqa", lambda *_: None)
    for name in ("empty", "zeros", "zeros_like"):
        plain = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *a, f=plain, pin_memory=False, **k: f(*a, **k))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor, *_: tensor)
    # Without a driver vLLM puts a placeholder in Triton's place.
    monkeypatch.setattr(triton_mla.triton, "next_power_of_2", next_power_of_2, raising=False)


def test_graphs_have_the_sizes_that_vllm_captures() -> None:
    batch = parse_batch_spec("q1")
    config = vllm_config(LayerConfig(AttnShape(), "bf16", batch, 16, max_model_len=LLAMA))
    sizes = config.compilation_config.cudagraph_capture_sizes
    asked = (1, 3, 5, 33, 64, 257, 512, 513)
    found = [graph_size(parse_batch_spec(f"{count}q1kv9"), sizes) for count in asked]
    assert found == [1, 4, 8, 40, 64, 272, 512, None]
    assert config.model_config.max_model_len == LLAMA


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize(
    ("backend", "knobs"), [("triton", {}), ("flash", {"flash_version": 2})], ids=str
)
def test_a_decode_is_captured_for_the_servers_length_and_padded(
    backend: str, knobs: dict[str, Value], graphs: bool
) -> None:
    ready: VllmPrepared = prepared(attn(backend, knobs=knobs), graphs=graphs)
    metadata, count = ready.metadata, 8 if graphs else 5
    assert metadata.max_seq_len == (LLAMA if graphs else 40)
    assert metadata.seq_lens.tolist() == [40] * 5 + [0] * (count - 5)
    assert metadata.query_start_loc.tolist() == [*range(6), *[5] * (count - 5)]
    assert metadata.num_actual_tokens == count
    assert metadata.block_table.shape == (count, LLAMA // 16)
    assert not metadata.block_table[:, 3:].any()
    assert not metadata.block_table[5:].any()
    assert metadata.slot_mapping[5:].tolist() == [-1] * (count - 5)
    assert len(ready.queries[0]) == count
    assert len(ready.output(0)) == 5 * 8
    assert ready.damage(0) is None
    assert ready.resolved["max_model_len"] == LLAMA
    assert ready.resolved.get("padded_to") == (8 if graphs else None)


def test_a_bare_kernel_has_its_own_length_and_no_padding() -> None:
    ready = prepared(replace(attn("triton"), knobs=()))
    assert ready.metadata.max_seq_len == 40
    assert ready.metadata.num_actual_tokens == 5
    assert "max_model_len" not in ready.resolved


def test_prompts_keep_their_own_length() -> None:
    ready = prepared(attn("triton", "3q1kv40_q33"))
    assert ready.metadata.max_seq_len == 40
    assert ready.metadata.block_table.shape == (4, LLAMA // 16)


@pytest.mark.parametrize("window", [None, 20])
def test_layers_of_several_windows_keep_flash_attention_from_scheduling_ahead(
    window: int | None,
) -> None:
    case = attn("flash", knobs={"flash_version": 3, "mixed_windows": True}, window=window)
    ready = prepared(case)  # a schedule would need a GPU
    assert ready.resolved["scheduled"] == "in each call"
    assert ready.builder.aot_schedule is False


@pytest.fixture
def without_cubins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """flashinfer-cubin counts as missing, and there is no network."""
    from vllm.utils import flashinfer

    installed = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if "cubin" in name else installed(name)
    )
    monkeypatch.delattr(flashinfer.requests, "get")
    answers = (
        flashinfer.has_flashinfer_cubin,
        flashinfer.has_nvidia_artifactory,
        flashinfer.supports_trtllm_attention,
        decide_as_served,
    )
    for each in answers:
        each.cache_clear()
    yield
    for each in answers:
        each.cache_clear()


@pytest.mark.usefixtures("unlaunched", "without_cubins")
def test_flashinfer_decodes_by_xqa_on_hopper_as_with_its_cubins_installed() -> None:
    ready = prepared(attn("flashinfer", knobs=SERVED))
    assert ready.resolved["decode_kernel"] == "xqa"
    assert ready.metadata.decode.max_seq_len == LLAMA
    assert ready.metadata.decode.block_tables.shape == (8, LLAMA // 16)
    assert CUBINS_VARIABLE not in os.environ


@pytest.mark.usefixtures("without_cubins")
@pytest.mark.parametrize(("words", "xqa"), [(None, True), ("0", False), ("1", True)])
def test_the_users_word_on_cubins_stands(
    monkeypatch: pytest.MonkeyPatch, words: str | None, xqa: bool
) -> None:
    from vllm.utils import flashinfer

    if words is not None:
        monkeypatch.setenv(CUBINS_VARIABLE, words)
    decide_as_served()
    assert flashinfer.supports_trtllm_attention(is_prefill=False) is xqa
    assert flashinfer.supports_trtllm_attention(is_prefill=True) is False


@pytest.mark.usefixtures("unlaunched")
def test_xqa_takes_queries_of_the_models_dtype_over_an_fp8_cache() -> None:
    ready = prepared(attn("flashinfer", knobs=SERVED, kv_cache_dtype="fp8"))
    assert ready.resolved["decode_kernel"] == "xqa"
    assert ready.resolved["query_dtype"] == "bfloat16"
    assert ready.resolved["kv_cache_dtype"] == "float8_e4m3fn"


MLA = [each.name for each in backends("mla") if isinstance(each, VllmMlaBackend)]


@pytest.mark.parametrize("name", MLA)
def test_pages_of_mla_are_those_that_vllm_prefers(name: str) -> None:
    backend: Any = find("mla", name)
    try:
        cls: Any = backend_class(backend.enum)
    except Unavailable as reason:
        pytest.skip(str(reason))
    assert block_size(cls, None, USUAL_BLOCK_SIZE) == cls.get_preferred_block_size(16)


def mla(backend: str, spec: str = "5q1kv100", knobs: Any = ()) -> Case:
    knobs = {"max_model_len": DEEPSEEK, **dict(knobs)}
    case = Case("mla", backend, parse_batch_spec(spec), MlaShape(16), "bf16")
    needs = dict.fromkeys(find("mla", backend).needs, 128)
    return replace(case, knobs=tuple(knobs.items()), **needs)  # type: ignore[arg-type]


@pytest.mark.usefixtures("unlaunched")
@pytest.mark.parametrize(
    ("knobs", "splits"), [({}, 264), ({"num_splits": 216}, 216), ({"max_model_len": 32768}, 64)]
)
def test_triton_mla_splits_by_the_servers_length(knobs: dict[str, Value], splits: int) -> None:
    ready = prepared(mla("triton_mla", knobs=knobs))
    assert ready.resolved["num_kv_splits"] == splits
    assert ready.resolved["block_size"] == 16
    assert ready.resolved["padded_to"] == 8


@pytest.mark.usefixtures("unlaunched")
@pytest.mark.parametrize("scope", ["kernel", "layer"])
@pytest.mark.parametrize(
    ("backend", "page"),
    [("triton_mla", 16), ("flashmla", 64), ("flashmla_sparse", 64), ("flashattn_mla_sparse", 64)],
)
def test_an_mla_decode_is_padded_and_its_tables_are_as_wide_as_the_servers(
    backend: str, page: int, scope: Scope
) -> None:
    ready: VllmMlaPrepared = prepared(replace(mla(backend), scope=scope))
    metadata = ready.metadata[1]
    table = (getattr(metadata, "decode", None) or metadata).block_table
    assert table.shape == (8, DEEPSEEK // page)
    assert metadata.num_actual_tokens == 8
    assert len(ready.decode_queries[0]) == 8
    assert len(ready.output(0)) == 5 * 16
    assert ready.resolved["block_size"] == page


@pytest.mark.usefixtures("unlaunched")
def test_a_bare_mla_decode_is_as_in_earlier_releases() -> None:
    ready = prepared(replace(mla("triton_mla", "5q1kv1k"), knobs=()))
    assert ready.resolved["num_kv_splits"] == 2
    assert ready.resolved["block_size"] == 64
    assert ready.metadata[0].decode.block_table.shape == (5, 16)


@pytest.mark.usefixtures("unlaunched")
@pytest.mark.parametrize(("limit", "tokens"), [(DEEPSEEK, 65536), (1024, 16384)])
def test_the_context_of_prefills_has_the_workspace_of_a_server(limit: int, tokens: int) -> None:
    ready = prepared(mla("flashattn_mla", "q600kv700", {"max_model_len": limit}))
    assert ready.builder.chunked_prefill_workspace_size == tokens
    assert ready.resolved["block_size"] == 16


def test_metadata_take_no_field_that_vllm_does_not_have() -> None:
    from vllm.v1.attention.backend import CommonAttentionMetadata

    from attnbench.kernels.vllm.metadata import common_metadata, layer_tables

    batch = parse_batch_spec("3q1kv40")
    tables = layer_tables(batch, 16, seeded("cpu", 0), "scattered")
    made = common_metadata(batch, tables, room=128, padding=1)
    known = {each.name for each in fields(CommonAttentionMetadata)}
    assert vars(made).keys() <= known
    assert made.seq_lens_cpu_upper_bound.tolist() == [40, 40, 40, 0]
    assert made.block_table_tensor.shape == (4, 8)


@pytest.mark.parametrize(
    ("page", "room", "width"),
    [(16, 0, 8), (16, 1000, 64), (32, 130, 8), (64, 950, 16), (256, 0, 1)],
)
def test_a_block_table_has_room_for_whole_128_tokens_as_vllms_has(
    page: int, room: int, width: int
) -> None:
    from attnbench.kernels.vllm.metadata import common_metadata, layer_tables

    batch = parse_batch_spec("3q1kv40")
    tables = layer_tables(batch, page, seeded("cpu", 0), "scattered")
    made = common_metadata(batch, tables, room=room)
    assert made.block_table_tensor.shape == (3, width)
