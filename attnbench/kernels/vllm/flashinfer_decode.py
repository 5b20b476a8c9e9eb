"""The kernel that vLLM's FLASHINFER decodes by: FlashInfer's own, XQA or trtllm-gen.

vLLM requires flashinfer-cubin, so a stock server decodes by XQA on SM90 and by trtllm-gen on SM100.
Without that package, as on a host without a network, vLLM would silently decode by native kernels.
"""

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from attnbench.kernels.base import Refused
from attnbench.provenance.machine import Machine
from attnbench.reasons import with_type
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape

if TYPE_CHECKING:
    import torch

CUBINS_VARIABLE = "VLLM_HAS_FLASHINFER_CUBIN"
XQA_MAX_HEAD_DIM = 256


def asked_kernel(case: Case) -> str:
    """served, native, xqa or trtllm; native where none is named."""
    return str(case.knob("decode_kernel") or "native")


def expected_kernel(asked: str, capability: tuple[int, int] | None) -> str:
    """native, xqa or trtllm, as a stock server decides on a GPU of that capability."""
    if asked != "served" or capability is None:
        return asked
    if capability == (9, 0):
        return "xqa"
    return "trtllm" if capability[0] == 10 else "native"


def decode_refusal(case: Case, machine: Machine) -> str | None:
    """Why vLLM cannot decode the case by the kernel asked for; None if it can.

    Some of it vLLM does not check: it would read the wrong format or leave out the soft cap.
    """
    kernel = expected_kernel(asked_kernel(case), machine.capability)
    this, instead = f"this is {machine.sm} ({machine.name})", "--decode-kernel native does"
    if kernel == "xqa" and machine.capability != (9, 0):
        return f"decodes by XQA on SM90 alone; {this}"
    if kernel == "trtllm" and (machine.capability or (0, 0))[0] != 10:
        return f"decodes by trtllm-gen on SM100 alone; {this}"
    if kernel == "native":
        return None
    if case.softcap is not None:
        return f"does not pass --softcap to {kernel}; {instead}"
    if kernel == "trtllm" and case.layout == "NHD":
        return f"decodes by trtllm-gen from HND alone, not --layout NHD; {instead} both"
    return _xqa_refusal(case, instead) if kernel == "xqa" else None


def _xqa_refusal(case: Case, instead: str) -> str | None:
    assert isinstance(case.shape, AttnShape)
    if case.kv_cache_dtype == "fp8_e5m2":
        return f"decodes by XQA, which does not take --kv-cache-dtype fp8_e5m2; {instead}"
    if case.shape.head_dim > XQA_MAX_HEAD_DIM:
        return f"decodes by XQA, which takes head dims up to {XQA_MAX_HEAD_DIM}; {instead} more"
    return None


@cache
def decide_as_served() -> None:
    """Let vLLM choose in this process as if flashinfer-cubin were installed, where XQA needs none.

    XQA is compiled from FlashInfer's sources. trtllm-gen needs the cubins, so on SM100 vLLM's own
    answer stands, as does the user's if the variable is set.
    """
    from vllm.platforms import current_platform
    from vllm.utils import flashinfer

    if CUBINS_VARIABLE in os.environ or not current_platform.is_device_capability(90):
        return
    cubins, artifactory = flashinfer.has_flashinfer_cubin, flashinfer.has_nvidia_artifactory
    for each in (cubins, artifactory, flashinfer.supports_trtllm_attention):
        each.cache_clear()
    os.environ[CUBINS_VARIABLE] = "1"
    try:
        artifactory()  # the answer is kept, and the decision on the kernel follows from it
    finally:
        del os.environ[CUBINS_VARIABLE]
        cubins.cache_clear()


def kernel_name(plan: Any) -> str:
    """What runs by the plan of one path in vLLM's metadata: fa2, fa3, xqa or trtllm-gen."""
    if hasattr(plan, "wrapper"):
        return str(getattr(plan.wrapper, "_backend", "unknown"))
    return str(plan.kernel.value) if hasattr(plan, "kernel") else "trtllm-gen"


def verify_kernel(plan: Any, expected: str) -> None:
    """Raises Refused if the plan of vLLM's decode path is for another kernel than expected."""
    found = "native" if hasattr(plan, "wrapper") else kernel_name(plan).removesuffix("-gen")
    if found != expected:
        raise Refused(
            f"expected vLLM to decode by {expected}, but it would by {found}; a stock server has "
            f"flashinfer-cubin, and --decode-kernel {found} asks for this one"
        )


def build_xqa(
    queries: "torch.Tensor", kv_dtype: "torch.dtype", shape: AttnShape, page: int
) -> None:
    """Compile XQA for the case. Raises Refused if that is not possible here."""
    from flashinfer.xqa import get_xqa_module

    ratio = shape.num_q_heads // shape.num_kv_heads
    try:
        get_xqa_module(
            queries.dtype, kv_dtype, page, shape.head_dim, ratio, False, queries.dtype, 1
        )
    except Exception as error:  # a compiler's, a file's or FlashInfer's own
        raise Refused(
            f"decodes by XQA, which cannot be built here: {with_type(error)}; "
            "--decode-kernel native asks for another kernel"
        ) from error
