"""The versions of FlashAttention that this vLLM can run on this GPU."""

import importlib

from attnbench.reasons import with_type

FA4 = "vllm.vllm_flash_attn.cute.interface"


def unsupported(version: int) -> str | None:
    """Why that version cannot run; None if it can.

    FA4 is Python, and vLLM calls it supported if its file exists, so it is imported too.
    """
    from vllm.vllm_flash_attn import fa_version_unsupported_reason, is_fa_version_supported

    if not is_fa_version_supported(version):
        return f"FlashAttention {version} cannot run here: {fa_version_unsupported_reason(version)}"
    if version != 4:
        return None
    try:
        importlib.import_module(FA4)
    except Exception as error:  # noqa: BLE001 - it compiles and looks for a device as it imports
        return f"FlashAttention 4 cannot run here: {with_type(error)}"
    return None
