"""FlashInfer's kernels for Hopper, through its paged wrappers."""

from typing import ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.flashinfer_attn.backend import FlashInferBackend
from attnbench.kernels.flashinfer_attn.wrapped import WrappedPrepared, workspaces
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case


class FlashInferFa3(FlashInferBackend):
    """fa3 even for decodes, where FlashInfer itself picks fa2: fa3 has no split KV or head packing.

    An fp8 cache would need fp8 queries. Attention sinks are refused: the wrappers ignore them.
    """

    name: ClassVar = "flashinfer-fa3"
    kernels: ClassVar = "fa3"
    features: ClassVar = frozenset({"window", "softcap"})

    def prepare(self, case: Case, setting: Setting) -> WrappedPrepared:
        return WrappedPrepared(case, setting, self.kernels, self.num_decode(case))

    def workspace_bytes(self, case: Case, machine: Machine) -> int:
        return sum(workspaces(case, machine.sm_count or 0))
