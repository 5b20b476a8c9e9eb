"""One call of PyTorch's scaled_dot_product_attention: its mask, and the kernel that serves it."""

import re
import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from attnbench.kernels.base import Refused
from attnbench.kernels.groups import Group, causal_mask
from attnbench.kernels.memory import mask_bytes
from attnbench.provenance.machine import Machine
from attnbench.specs.batch import Request

if TYPE_CHECKING:
    import torch

# Our names for torch.nn.attention.SDPBackend, by its members' values.
NAMES = {0: "math", 1: "flash", 2: "efficient", 3: "cudnn"}

Views = tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]


class SdpaKernel:
    """The SDPA call of one group of requests: its mask, and the kernel that serves it, by name."""

    def __init__(self, group: Group, forced: object, views: Views) -> None:
        import torch

        # PyTorch's default, which importing vLLM disables for the whole process.
        torch.backends.cuda.enable_cudnn_sdp(True)
        self.forced = forced
        self.mask, self.is_causal = _masking(group, forced, views)
        self.name = str(forced or _choice(views, self.mask, self.is_causal))
        if forced is not None:
            self._require(views)

    def __call__(self, q: "torch.Tensor", k: "torch.Tensor", v: "torch.Tensor") -> "torch.Tensor":
        from torch.nn.functional import scaled_dot_product_attention

        with self._only():
            return scaled_dot_product_attention(
                q, k, v, attn_mask=self.mask, is_causal=self.is_causal, enable_gqa=True
            )

    def _only(self) -> AbstractContextManager[None]:
        if self.forced is None:
            return nullcontext()
        from torch.nn.attention import SDPBackend, sdpa_kernel

        value = next(value for value, name in NAMES.items() if name == self.forced)
        only: Callable[[object], AbstractContextManager[None]] = sdpa_kernel
        return only(SDPBackend(value))

    def _require(self, views: Views) -> None:
        """Try once: torch says in warnings why a kernel does not take the case."""
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                self(*views)
            except RuntimeError as error:
                why = _complaint([str(each.message) for each in said]) or str(error)
                raise Refused(
                    f"SDPA's {self.forced} kernel does not take this case: {why}"
                ) from error


def sdpa_mask_bytes(requests: Iterable[Request], machine: Machine) -> int:
    """Masks in memory; a GPU's flash kernel needs none."""
    masked = (r for r in requests if 1 < r.q_len < r.kv_len)
    return mask_bytes(masked) if machine.kind == "cpu" else 0


def _complaint(said: list[str]) -> str:
    """The first reason among torch's warnings, without the place that raised it."""
    plain = [re.sub(r"\s*\(Triggered internally.*?\)", "", text).strip() for text in said]
    reasons = [text for text in plain if not text.endswith("because:")]
    return reasons[0].partition(". ")[0] if reasons else ""


def _masking(group: Group, forced: object, views: Views) -> "tuple[torch.Tensor | None, bool]":
    """The mask and is_causal for a group; SDPA's own is_causal is aligned top left.

    Only the flash kernel has bottom-right alignment without a mask in memory.
    """
    if group.q_len == 1:
        return None, False
    if group.q_len == group.kv_len:
        return None, True
    query = views[0]
    if query.is_cuda and forced in (None, "flash"):
        from torch.backends.cuda import SDPAParams, can_use_flash_attention
        from torch.nn.attention.bias import causal_lower_right

        if can_use_flash_attention(SDPAParams(*views, None, 0.0, False, True)):
            return causal_lower_right(group.q_len, group.kv_len), False
    return causal_mask(group.q_len, group.kv_len, str(query.device)), False


def _choice(views: Views, mask: "torch.Tensor | None", is_causal: bool) -> str:
    """The kernel that torch picks on its own."""
    import torch

    # A CausalBias of torch, which is not imported for a look: that imports torch._dynamo, in 1 s.
    if mask is not None and type(mask) is not torch.Tensor:
        return "flash"
    return NAMES[torch._fused_sdp_choice(*views, mask, 0.0, is_causal, enable_gqa=True)]
