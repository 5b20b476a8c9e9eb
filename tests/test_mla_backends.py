"""What vLLM's and FlashInfer's MLA backends refuse, and how they split a batch."""

import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from attnbench.families.options import Asked
from attnbench.kernels.base import Refused
from attnbench.kernels.mla import vllm_others
from attnbench.kernels.registry import backends, find
from attnbench.kernels.vllm import mla_sparse
from attnbench.kernels.vllm.mla_backend import VllmMlaBackend, split
from attnbench.kernels.vllm.mla_prefill import NAMES, prefill_refusal, prefill_that_runs
from attnbench.provenance.machine import Machine
from attnbench.running.cases import cases_for
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import MlaShape

H200 = Machine("cuda", "cuda:0", "NVIDIA H200", gpu_uuid="GPU-1", capability=(9, 0), sm_count=132)
B200 = replace(H200, name="NVIDIA B200", capability=(10, 0))
A100 = replace(H200, name="NVIDIA A100", capability=(8, 0))
CPU = Machine("cpu", "cpu", "Xeon")

DEEPSEEK = MlaShape()
MIXED = "4q1kv1k_4q4kv1k_2q16kv1k_q200"


def mla(
    backend: str,
    spec: str = "4q1kv1k",
    shape: MlaShape = DEEPSEEK,
    **given: object,
) -> Case:
    knobs = {n: given.pop(n) for n in ("threshold", "num_splits", "prefill_backend") if n in given}
    case = Case("mla", backend, parse_batch_spec(spec), shape, "bf16", knobs=tuple(knobs.items()))  # type: ignore[arg-type]
    return replace(case, **given)  # type: ignore[arg-type]


def refusal(case: Case, machine: Machine) -> str:
    return find("mla", case.backend).refusal(case, machine) or ""


@pytest.mark.parametrize(
    ("case", "machine", "reason"),
    [
        (mla("cutlass_mla"), H200, "needs SM100; this is SM90 (NVIDIA H200)"),
        (mla("flashinfer_mla"), H200, "needs SM100; this is SM90 (NVIDIA H200)"),
        (mla("tokenspeed_mla"), H200, "needs SM100; this is SM90 (NVIDIA H200)"),
        (mla("flashinfer_mla_sparse", index_topk=2048), H200, "needs SM100; this is SM90"),
        (mla("flashattn_mla"), B200, "needs SM90; this is SM100 (NVIDIA B200)"),
        (mla("flashmla"), A100, "needs SM90; this is SM80 (NVIDIA A100)"),
        (mla("flashmla_sparse", index_topk=2048), A100, "needs SM90 or SM100; this is SM80"),
        (mla("flashinfer-mla-fa3"), B200, "needs SM90; this is SM100 (NVIDIA B200)"),
        (mla("flashinfer-ragged-fa3"), A100, "needs SM90; this is SM80 (NVIDIA A100)"),
        (mla("flashmla"), CPU, "needs an NVIDIA GPU; this device is Xeon"),
        (
            mla("flashattn_mla_sparse"),
            H200,
            "attends only to selected keys, e.g. --index-topk 2048",
        ),
        (mla("flashmla_sparse", index_topk=96), H200, "takes --index-topk in steps of 128, not 96"),
    ],
)
def test_what_the_gpu_or_a_value_forbids_is_refused_before_vllm_is_imported(
    case: Case, machine: Machine, reason: str
) -> None:
    imported = "vllm" in sys.modules
    assert reason in refusal(case, machine)
    assert ("vllm" in sys.modules) == imported


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM and FlashInfer count as installed: what they would say comes after our own word."""
    monkeypatch.setattr(VllmMlaBackend, "module", "torch")
    monkeypatch.setattr(find("mla", "flashinfer-mla-fa3").__class__, "module", "torch")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (mla("triton_mla", threshold=16), "decodes one token at a time, and --thresholds 16"),
        (mla("flashmla", num_splits=4), "does not take --num-splits"),
        (mla("flashmla", index_topk=64), "does not take --index-topk"),
        (mla("flashmla", kv_cache_dtype="fp8_ds_mla"), "does not take --kv-cache-dtype fp8_ds_mla"),
        (mla("flashattn_mla", kv_cache_dtype="fp8"), "does not take --kv-cache-dtype fp8"),
        (mla("flashmla", shape=MlaShape(kv_lora_rank=256)), "has no kernel for kv_lora_rank 256"),
        (mla("flashmla_sparse", index_topk=128, threshold=4), "does not take --thresholds"),
        (mla("flashattn_mla", "q1k", num_splits=4), "only splits decodes, and no request"),
        (mla("flashmla", prefill_backend="fa3"), "sends no request of this batch to prefill"),
        (
            mla("flashmla", "q1k", prefill_backend="cudnn"),
            "vLLM has no MLA prefill by cuDNN since 0.22",
        ),
        (mla("flashmla", "q1k", prefill_backend="flashinfer"), "needs SM100; this is SM90"),
        (mla("flashmla", "q500_q600kv2k", threshold=1), "needs prefills with a context before"),
        (mla("flashinfer-mla-fa3", kv_cache_dtype="fp8"), "does not take --kv-cache-dtype fp8"),
        (mla("flashinfer-mla-fa3", num_splits=2), "does not take --num-splits"),
        (
            replace(mla("flashinfer-mla-fa3"), dtype="fp32"),
            "computes in bf16 and fp16, not in fp32",
        ),
    ],
)
def test_what_would_be_ignored_or_wrong_is_refused_in_a_sentence(case: Case, reason: str) -> None:
    assert reason in refusal(case, H200)


@pytest.mark.parametrize(
    ("backend", "threshold", "decodes"),
    [
        # UNIFORM: as many new tokens for all, so the rows behind the first kind are prefills.
        ("flashmla", None, 4),
        ("flashmla", 16, 4),
        # VARLEN: any under the threshold.
        ("flashattn_mla", None, 11),
        ("flashattn_mla", 16, 10),
        ("flashattn_mla", 4, 8),
        ("flashattn_mla", 1, 4),
        ("triton_mla", None, 4),
        ("flashmla_sparse", None, 11),
        ("flashinfer-mla-fa3", None, 11),
        ("flashinfer-ragged-fa3", None, 0),
    ],
)
def test_the_row_says_how_many_requests_really_decode(
    backend: str, threshold: int | None, decodes: int
) -> None:
    knobs = () if threshold is None else (("threshold", threshold),)
    case = replace(mla(backend, MIXED), knobs=knobs)
    assert find("mla", backend).num_decode(case) == decodes


@pytest.mark.parametrize(
    ("spec", "threshold", "uniform", "decodes"),
    [
        ("4q16kv1k", 16, True, 4),
        ("4q16kv1k", 15, True, 0),
        ("2q1kv1k_4q16kv1k", 1, True, 2),
        ("2q1kv1k_4q16kv1k", 16, True, 2),
        ("2q1kv1k_4q16kv1k", 16, False, 6),
        ("q8k", 1, False, 0),
        ("3q1kv1k", 1, True, 3),
    ],
)
def test_a_batch_is_split_as_vllm_splits_it(
    spec: str, threshold: int, uniform: bool, decodes: int
) -> None:
    assert split(parse_batch_spec(spec), threshold, uniform=uniform) == decodes


@pytest.mark.parametrize(
    ("backend", "heads", "spec", "decodes"),
    [
        ("flashattn_mla_sparse", 16, "3q1kv100_2q16kv90_q200", 5),
        ("flashattn_mla_sparse", 128, "3q1kv100_2q16kv90_q200", 6),
        ("flashmla_sparse", 16, "3q1kv100_2q16kv90_q200", 3),  # as many tokens as the first
        ("flashattn_mla_sparse", 16, "3q1kv100_q3k", 4),  # more keys than are selected
        ("flashinfer_mla_sparse", 128, "q1k_q2k", 1),
    ],
)
def test_prompts_of_sparse_layers_are_dense_where_all_keys_are_selected_since_vllm_030(
    backend: str, heads: int, spec: str, decodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = mla(backend, spec, MlaShape(heads), index_topk=2048)
    assert find("mla", backend).num_decode(case) == len(case.batch)
    monkeypatch.setattr(mla_sparse, "has_dense_sparse_prefill", lambda: True)
    assert find("mla", backend).num_decode(case) == decodes
    forced = replace(case, knobs=(("force_mqa", True),))
    assert find("mla", backend).num_decode(forced) == len(case.batch)


def test_mqa_is_forced_in_vllms_config_where_it_is_not_the_only_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend: Any = find("mla", "flashmla_sparse")
    case = mla("flashmla_sparse", "q1k", index_topk=2048)
    forced = replace(case, knobs=(("force_mqa", True),))
    assert backend.attention(forced) == {}
    monkeypatch.setattr(mla_sparse, "has_dense_sparse_prefill", lambda: True)
    assert backend.attention(forced) == {"sparse_mla_force_mqa": True}
    assert backend.attention(case) == {}


@pytest.mark.parametrize("name", NAMES)
def test_every_prefill_backend_is_offered_or_refused_with_the_gpu_that_it_needs(name: str) -> None:
    offered = {"fa2", "fa3", "fa4"}
    reason = prefill_refusal(name, H200)
    assert (reason is None) == (name in offered)
    assert reason is None or "SM100" in reason or "since 0.22" in reason


@pytest.mark.parametrize(
    ("asked", "version", "found"), [("fa3", 3, "FLASH_ATTN fa3"), (None, 2, "FLASH_ATTN fa2")]
)
def test_the_prefill_that_runs_is_read_from_the_metadata(
    asked: str | None, version: int, found: str
) -> None:
    assert prefill_that_runs(_metadata(version), asked) == found


def test_another_prefill_than_the_one_asked_for_is_refused() -> None:
    with pytest.raises(Refused, match="asked for the prefill by fa2, but vLLM runs FLASH_ATTN fa3"):
        prefill_that_runs(_metadata(3), "fa2")


def _metadata(version: int) -> SimpleNamespace:
    backend = SimpleNamespace(get_name=lambda: "FLASH_ATTN", vllm_flash_attn_version=version)
    return SimpleNamespace(prefill=SimpleNamespace(prefill_backend=backend))


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("flash_attn_mla", "flashattn_mla"),
        ("FLASH_ATTN_MLA", "flashattn_mla"),
        ("FLASHMLA", "flashmla"),
        ("FLASH_ATTN_MLA_SPARSE", "flashattn_mla_sparse"),
        ("FlashInfer_MLA", "flashinfer_mla"),
    ],
)
def test_a_backend_is_found_by_its_name_and_by_vllms(alias: str, name: str) -> None:
    assert find("mla", alias).name == name


def test_vllms_names_for_its_backends_are_ours_too() -> None:
    for backend in backends("mla"):
        if isinstance(backend, VllmMlaBackend):
            assert find("mla", backend.enum) is backend


def test_other_mla_entries_of_the_registry_are_backends_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed = ["FLASH_ATTN", "FLASHMLA", "FLASHINFER_MLA_SPARSE_SM120", "NEW_MLA", "ROCM_AITER_MLA"]
    listed += ["FLASHMLA_SPARSE_DSV4", "MINIMAX_M3_SPARSE"]
    monkeypatch.setattr(vllm_others, "registered", list)
    known = {each.name for each in backends.__wrapped__("mla")}
    monkeypatch.setattr(vllm_others, "registered", lambda: listed)
    found = {each.name: each for each in backends.__wrapped__("mla")}
    assert set(found) - known == {"flashinfer_mla_sparse_sm120", "new_mla"}
    assert "index_topk" in found["flashinfer_mla_sparse_sm120"].features
    assert found["new_mla"].num_decode(mla("x", MIXED)) == 4


def test_sparse_backends_are_asked_for_the_usual_selection_and_dense_ones_for_none() -> None:
    asked = Asked("mla", MlaShape(), ["flashmla", "flashmla_sparse"])
    found = {case.backend: case.index_topk for case in cases_for(asked, "cuda")}
    assert found == {"flashmla": None, "flashmla_sparse": 2048}


def test_a_sweep_over_thresholds_brings_batches_that_they_matter_to() -> None:
    asked = Asked("mla", MlaShape(), ["flashmla"], knobs={"threshold": [1, 4, 16]})
    cases = cases_for(asked, "cuda")
    flashmla = find("mla", "flashmla")
    splits: dict[str, set[int]] = {}
    for case in cases:
        splits.setdefault(str(case.batch), set()).add(flashmla.num_decode(case))
    assert all(case.scope == "layer" for case in cases)
    assert sum(len(found) > 1 for found in splits.values()) >= 2


def test_compare_auto_adds_the_backends_own_choice() -> None:
    asked = Asked("mla", MlaShape(), ["flashattn_mla"], knobs={"num_splits": [1, 8, None]})
    batches = {str(case.batch) for case in cases_for(asked, "cuda")}
    found = [case.knob("num_splits") for case in cases_for(asked, "cuda")]
    assert sorted(found, key=str) == sorted([1, 8, None] * len(batches), key=str)
