"""vLLM's standard backends as far as no GPU is needed: their names, their data, their refusals."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from attnbench.errors import UsageError
from attnbench.kernels.attn import vllm_others
from attnbench.kernels.attn.flash import Flash
from attnbench.kernels.attn.vllm_flashinfer import VllmFlashInfer
from attnbench.kernels.base import Refused
from attnbench.kernels.cache_write_base.fp8 import quantise
from attnbench.kernels.inputs import seeded
from attnbench.kernels.paged import KEY_SCALE, QUERY_SCALE, VALUE_SCALE
from attnbench.kernels.registry import backends, find
from attnbench.kernels.vllm.caches import LayerCaches
from attnbench.kernels.vllm.kv_cache import CacheFormat
from attnbench.kernels.vllm.metadata import NULL_PAGE, layer_tables
from attnbench.kernels.vllm.names import backend_classes
from attnbench.provenance.machine import Machine
from attnbench.specs.batch import parse_batch_spec
from tests.conftest import small_case

CPU = Machine(kind="cpu", device="cpu", name="Xeon")
H200 = Machine(kind="cuda", device="cuda:0", name="NVIDIA H200", capability=(9, 0))
BATCH = parse_batch_spec("2q1kv40_q16kv48_q33").in_execution_order()
HEADS_FIRST = CacheFormat((0, 2, 2, 16, 8), "p2bhd", (0, 1, 3, 2, 4))  # 2 KV heads of 8


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("flash", "flash"),
        ("FLASH_ATTN", "flash"),
        ("Triton_Attn", "triton"),
        ("flashinfer", "flashinfer"),
        ("flex-attention", "flex"),
    ],
)
def test_a_backend_goes_by_its_short_name_and_by_vllms(asked: str, name: str) -> None:
    assert find("attn", asked).name == name


REGISTRY = '''
class AttentionBackendEnum(Enum, metaclass=Meta):
    """All."""
    FLASH_ATTN = "a.B"
    TREE_ATTN = (
        "a.C"
    )
    HPC_ATTN = "a.D"
    ROCM_ATTN = "a.E"
    FLASHMLA = "a.F"
    MINIMAX_M3_SPARSE = "a.G"
    TORCH_SDPA = ""
    CUSTOM = None

    def get_path(self):
        found = "x"


class MambaAttentionBackendEnum(Enum):
    LINEAR = "a.H"
'''


def test_other_names_of_the_installed_registry_are_backends_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed = backend_classes(REGISTRY)
    monkeypatch.setattr(vllm_others, "registered", lambda: listed)
    backends.cache_clear()
    try:
        assert find("attn", "HPC_ATTN").name == "hpc_attn"
        assert find("attn", "tree-attn").enum == "TREE_ATTN"  # type: ignore[attr-defined]
        with pytest.raises(UsageError, match="no attn backend is called 'ROCM_ATTN'"):
            find("attn", "ROCM_ATTN")
        with pytest.raises(UsageError, match="no attn backend is called 'FLASHMLA'"):
            find("attn", "FLASHMLA")
    finally:
        monkeypatch.undo()
        backends.cache_clear()


@pytest.mark.parametrize("name", ["flash", "triton", "flashinfer", "flex"])
def test_a_machine_without_a_gpu_is_told_so(name: str) -> None:
    assert find("attn", name).refusal(small_case("attn", name), CPU) == (
        "needs an NVIDIA GPU; this device is Xeon, 1 core"
    )


def filled(kv_dtype: torch.dtype, kv_data: str = "random", *, nan_tails: bool = False) -> Any:
    generator = seeded("cpu", 0)
    tables = layer_tables(BATCH, 16, generator, "scattered")
    made = LayerCaches(HEADS_FIRST, tables, 3, torch.bfloat16, kv_dtype)
    made.fill(BATCH, kv_data, generator, nan_tails=nan_tails)
    return made


FORMATS = [torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]


@pytest.mark.parametrize("kv_dtype", FORMATS)
@pytest.mark.parametrize("nan_tails", [True, False])
def test_only_the_requests_own_tokens_hold_data(kv_dtype: torch.dtype, nan_tails: bool) -> None:
    made = filled(kv_dtype, nan_tails=nan_tails)
    caches = made.values(made.pool).view(3, -1, *made.pool.shape[1:])
    for cache in caches:
        assert cache[made.tables.strangers].isnan().all()
        assert (cache[NULL_PAGE].abs() > 5).all()
        for row, request in enumerate(BATCH):
            pages = -(-request.kv_len // 16)
            tokens = cache[made.tables.tables[0, row, :pages].long()].flatten(0, 1)
            assert tokens[: request.kv_len].abs().max() < 15
            tail = tokens[request.kv_len :]
            assert (tail.isnan() if nan_tails else tail > 5).all()


@pytest.mark.parametrize("kv_dtype", FORMATS)
def test_the_layers_caches_differ_and_their_values_are_normal(kv_dtype: torch.dtype) -> None:
    made = filled(kv_dtype)
    new = made.values(made.pool[made.slots(BATCH)])  # [layers, tokens, 2, heads, dim]
    assert not torch.equal(new[0], new[1])
    for kind in (0, 1):
        assert new[:, :, kind].std().item() == pytest.approx(1, rel=0.1)


def test_a_cache_of_zeros_is_zero_where_it_is_read() -> None:
    made = filled(torch.float8_e4m3fn, "zeros")
    assert not made.values(made.pool[made.slots(BATCH)]).any()


@pytest.mark.parametrize("kv_dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_was_quantised_once_is_quantised_to_the_same_again(
    kv_dtype: torch.dtype, dtype: torch.dtype
) -> None:
    values = torch.randn(4096, generator=seeded("cpu", 0)).to(dtype)
    for scale in (QUERY_SCALE, KEY_SCALE, VALUE_SCALE):
        stored = quantise(values, scale, kv_dtype)
        back = (stored.float() * scale).to(dtype)
        assert torch.equal(quantise(back, scale, kv_dtype).float(), stored.float())


def test_queries_that_are_exact_in_fp8_are_so_without_their_scale() -> None:
    """XQA takes them in bf16 and rounds them itself, by a scale of 1."""
    every = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
    queries = every[every.abs() >= 2.0**-4] * QUERY_SCALE
    assert len(queries) > 150
    assert torch.equal(queries.to(torch.float8_e4m3fn).float(), queries)


def built(version: int | None, splits: int = 0, schedule: object = ()) -> tuple[Any, Any, Any]:
    layer = SimpleNamespace(impl=SimpleNamespace(vllm_flash_attn_version=version))
    metadata = SimpleNamespace(max_num_splits=splits, scheduler_metadata=schedule)
    return layer, None, metadata


@pytest.mark.parametrize(
    ("knobs", "version", "splits", "facts"),
    [
        ({}, 3, 0, {"flash_version": 3, "scheduled": "ahead"}),
        ({}, 3, 32, {"flash_version": 3, "scheduled": "ahead", "max_num_splits": 32}),
        ({"flash_version": 2}, 2, 0, {"flash_version": 2}),
        (
            {"num_splits": 4},
            3,
            4,
            {"flash_version": 3, "scheduled": "ahead", "max_num_splits": 4},
        ),
    ],
)
def test_a_row_says_which_flash_attention_ran(
    knobs: dict[str, Any], version: int, splits: int, facts: dict[str, Any]
) -> None:
    case = small_case("attn", "flash", knobs=tuple(knobs.items()))
    assert Flash().verify(case, *built(version, splits)) == facts


def test_a_row_says_that_flash_attention_schedules_in_each_call() -> None:
    case = small_case("attn", "flash")
    facts = Flash().verify(case, *built(3, schedule=None))
    assert facts["scheduled"] == "in each call"


@pytest.mark.parametrize(
    ("knobs", "version", "splits", "message"),
    [
        ({"flash_version": 4}, 3, 0, "vLLM would run FlashAttention 3 instead of 4"),
        ({}, None, 0, "vLLM would run FlashAttention None instead of any"),
        ({"num_splits": 4}, 3, 0, "takes --num-splits only where vLLM decodes from"),
    ],
)
def test_another_flash_attention_than_asked_for_is_refused(
    knobs: dict[str, Any], version: int | None, splits: int, message: str
) -> None:
    case = small_case("attn", "flash", knobs=tuple(knobs.items()))
    with pytest.raises(Refused, match=message):
        Flash().verify(case, *built(version, splits))


class Wrapper:
    _backend = "fa3"


def planned(prefills: int, prefill: object, decode: object) -> Any:
    return SimpleNamespace(
        num_prefills=prefills,
        prefill=prefill,
        decode=decode,
        q_data_type_prefill=torch.bfloat16,
        q_data_type_decode=torch.bfloat16,
    )


def test_flashinfer_says_which_kernels_each_path_takes() -> None:
    case = small_case("attn", "flashinfer", "2q8_3q1kv20")
    plan = SimpleNamespace(wrapper=Wrapper())
    assert VllmFlashInfer().verify(case, None, None, planned(2, plan, plan)) == {
        "prefill_kernel": "fa3",
        "decode_kernel": "fa3",
        "query_dtype": "bfloat16",
    }


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (planned(2, None, SimpleNamespace()), "expected vLLM to decode by native, but it would"),
        (planned(3, None, None), "expected 2 requests on the prefill path, but vLLM sends 3"),
    ],
)
def test_another_path_of_flashinfer_is_refused(metadata: object, message: str) -> None:
    case = small_case("attn", "flashinfer", "2q8_3q1kv20")
    with pytest.raises(Refused, match=message):
        VllmFlashInfer().verify(case, None, None, metadata)
