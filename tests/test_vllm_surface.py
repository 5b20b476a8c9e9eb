"""The parts of the vLLM surface that are pure: page tables, slots, cache formats, block sizes."""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from attnbench.kernels.attn import vllm_others as attn_others
from attnbench.kernels.base import Refused
from attnbench.kernels.inputs import seeded
from attnbench.kernels.mla import vllm_others as mla_others
from attnbench.kernels.registry import backends, find
from attnbench.kernels.vllm import names
from attnbench.kernels.vllm.config import _check_fields, _described
from attnbench.kernels.vllm.kv_cache import LAYOUT_NAMES, cache_format
from attnbench.kernels.vllm.metadata import NULL_PAGE, layer_tables, new_tokens
from attnbench.kernels.vllm.names import (
    has_dense_sparse_prefill,
    query_len_support,
    registered,
)
from attnbench.kernels.vllm.registry import block_size
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape, MlaShape

BATCH = parse_batch_spec("2q1kv40_q16kv48_q33").in_execution_order()


@pytest.mark.parametrize("page_order", ["scattered", "contiguous"])
def test_vllms_null_page_belongs_to_nobody_and_fills_the_unused_entries(page_order: str) -> None:
    made = layer_tables(BATCH, 16, seeded("cpu", 0), page_order)
    used = [-(-request.kv_len // 16) for request in BATCH]
    for row, count in zip(made.tables[0], used, strict=True):
        assert NULL_PAGE not in row[:count].tolist()
        assert set(row[count:].tolist()) <= {NULL_PAGE}
    owned = made.tables[made.tables != NULL_PAGE].tolist()
    assert len(set(owned)) == sum(used)
    assert sorted([NULL_PAGE, *owned, *made.strangers.tolist()]) == list(range(made.num_pages))


def test_the_slots_of_new_tokens_are_the_last_of_each_request() -> None:
    made = layer_tables(BATCH, 16, seeded("cpu", 0), "scattered")
    tokens = new_tokens(BATCH, made)
    by_hand = [
        int(made.tables[0, row, position // 16]) * 16 + position % 16
        for row, request in enumerate(BATCH)
        for position in range(request.context_len, request.kv_len)
    ]
    assert tokens.slots.tolist() == by_hand
    assert torch.equal(tokens.pages * 16 + tokens.offsets, tokens.slots)


class InThisOrder:
    """A backend class of the releases that give shape and order."""

    shape: ClassVar[tuple[int, ...]] = (6, 2, 4, 3, 8)
    order: ClassVar[tuple[int, ...]] = (0, 1, 2, 3, 4)

    @classmethod
    def get_kv_cache_shape(cls, *sizes: int, cache_dtype_str: str) -> tuple[int, ...]:
        assert sizes == (6, 4, 3, 8)
        return cls.shape

    @classmethod
    def get_kv_cache_stride_order(cls) -> tuple[int, ...]:
        return cls.order


class HeadsFirst(InThisOrder):
    order: ClassVar = (0, 1, 3, 2, 4)


class BlockFirst(InThisOrder):
    """As FlexAttention keeps it."""

    order: ClassVar = (0, 2, 1, 3, 4)


class SideBySide(InThisOrder):
    """As the DIFFKV backends keep it."""

    shape: ClassVar = (6, 4, 3, 16)
    order: ClassVar = (0, 1, 2, 3)


class SideBySideHeadsFirst(SideBySide):
    order: ClassVar = (0, 2, 1, 3)


class KeysFirst(InThisOrder):
    """As releases before 0.25 kept it: keys of all pages, then values."""

    shape: ClassVar = (2, 6, 4, 3, 8)


class Newer:
    """A backend class of the releases that name an order for all."""


def configured(layout: str = "LBNHC") -> Any:
    return SimpleNamespace(cache_config=SimpleNamespace(cache_dtype="auto", kv_cache_layout=layout))


@pytest.mark.parametrize(
    ("backend", "layout"),
    [
        *((each, "") for each in (InThisOrder, HeadsFirst, BlockFirst)),
        *((each, "") for each in (SideBySide, SideBySideHeadsFirst)),
        *((Newer, layout) for layout in LAYOUT_NAMES.values()),
    ],
)
def test_every_cache_is_seen_by_token_in_one_way(backend: type, layout: str) -> None:
    format_ = cache_format(backend, configured(layout), 6, 4, 3, 8)
    memory = torch.arange(6 * 2 * 4 * 3 * 8).view(format_.shape)
    seen, by_token = format_.viewed(memory), format_.by_token(memory)
    assert by_token.shape == (6, 4, 2, 3, 8)
    page, token, head, element = 5, 2, 1, 7
    where = {"p": page, "b": token, "h": head, "d": element}
    for kind in (0, 1):
        where |= {"2": kind, "w": 8 * kind + element}
        found = seen[tuple(where[axis] for axis in format_.axes)]
        assert found == by_token[page, token, kind, head, element]


def test_memory_is_in_the_order_that_the_layout_names() -> None:
    nhd = cache_format(InThisOrder, configured(), 6, 4, 3, 8)
    hnd = cache_format(HeadsFirst, configured(), 6, 4, 3, 8)
    assert (nhd.shape, hnd.shape) == ((6, 2, 4, 3, 8), (6, 2, 3, 4, 8))


def test_a_cache_that_cannot_be_filled_is_refused() -> None:
    with pytest.raises(Refused, match=r"has a cache of shape \(2, 6, 4, 3, 8\)"):
        cache_format(KeysFirst, configured(), 6, 4, 3, 8)


@pytest.mark.parametrize("others", [attn_others, mla_others])
def test_an_entry_of_vllms_registry_that_has_a_file_is_offered_once(
    others: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = others.__name__.split(".")[-2]
    in_files = sorted(entries(family))
    monkeypatch.setattr(others, "registered", lambda: in_files)
    assert sorted(entries(family)) == in_files


def entries(family: str) -> list[str]:
    """The names in vLLM's registry of a family's backends; not from the registry's cache."""
    return [each.enum for each in backends.__wrapped__(family) if hasattr(each, "enum")]


@dataclass
class MultipleOf:
    base: int


class TakesMultiples:
    @staticmethod
    def get_supported_kernel_block_sizes() -> list[object]:
        return [MultipleOf(16)]


class TakesThree:
    @staticmethod
    def get_supported_kernel_block_sizes() -> list[object]:
        return [32, 64]


@pytest.mark.parametrize(
    ("backend", "asked", "given"),
    [
        (TakesMultiples, None, 16),
        (TakesMultiples, 48, 48),
        (TakesMultiples, 24, None),
        (TakesThree, None, 32),
        (TakesThree, 64, 64),
        (TakesThree, 128, None),
    ],
)
def test_the_block_size_is_one_that_the_kernels_take(
    backend: type, asked: int | None, given: int | None
) -> None:
    assert block_size(backend, asked, usual=16) == given


@dataclass
class AttentionConfig:
    flash_attn_version: int | None = None


def test_a_field_that_this_vllm_does_not_have_is_refused_and_not_ignored() -> None:
    _check_fields(AttentionConfig, (("flash_attn_version", 3),))
    with pytest.raises(Refused) as caught:
        _check_fields(AttentionConfig, (("use_cudnn_prefill", True),))
    assert str(caught.value) == (
        "needs attention_config.use_cudnn_prefill, which this vLLM does not have"
    )


def test_the_configuration_file_has_the_true_dims() -> None:
    attn = _described(AttnShape(64, 8, 96))
    assert (attn["head_dim"], attn["num_key_value_heads"]) == (96, 8)
    mla = _described(MlaShape(16, qk_nope_head_dim=192))
    assert (mla["num_attention_heads"], mla["qk_nope_head_dim"]) == (16, 192)
    assert mla["kv_lora_rank"] + mla["qk_rope_head_dim"] == 576


REGISTRY = """
class AttentionBackendEnum(Enum):
    TRITON_MLA = "vllm.v1.attention.backends.mla.triton_mla.TritonMLABackend"
    FLASH_ATTN = ("vllm.v1.attention.backends." "flash_attn.FlashAttentionBackend")
    TORCH_SDPA = ""
"""
TRITON_MLA = """
class TritonMLAMetadataBuilder(MLACommonMetadataBuilder[MLACommonMetadata]):
    query_len_support: ClassVar[QueryLenSupport] = QueryLenSupport.VARLEN
"""


def test_facts_on_a_release_are_read_from_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "vllm" / "v1" / "attention" / "backends"
    (folder / "mla").mkdir(parents=True)
    (tmp_path / "vllm" / "__init__.py").write_text("raise ImportError")
    (folder / "registry.py").write_text(REGISTRY)
    (folder / "mla" / "triton_mla.py").write_text(TRITON_MLA)
    (folder / "flash_attn.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    _forget_the_release()
    try:
        assert registered() == ["TRITON_MLA", "FLASH_ATTN", "TORCH_SDPA"]
        asked = ("TRITON_MLA", "FLASH_ATTN", "TORCH_SDPA", "NONE_SUCH")
        assert [query_len_support(name) for name in asked] == ["VARLEN", None, None, None]
        assert not has_dense_sparse_prefill()
        mixed = Case("mla", "triton_mla", BATCH, MlaShape(16), "bf16", knobs=(("threshold", 16),))
        assert find("mla", "triton_mla").num_decode(mixed) == 3  # of 2q1 and q16
    finally:
        _forget_the_release()


def _forget_the_release() -> None:
    for each in (names._source, names.query_len_support):
        each.cache_clear()
