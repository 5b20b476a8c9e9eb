"""The refusals of every backend that drives FlashInfer directly; they import nothing."""

from abc import abstractmethod
from typing import ClassVar

from attnbench.kernels.base import Backend
from attnbench.kernels.memory import Bytes, paged_bytes
from attnbench.kernels.paged import DEFAULT_BLOCK_SIZE
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case, Dtype
from attnbench.specs.shape import AttnShape

# By FlashInfer's name of its kernels: the SMs they need, in words and as major versions.
SMS = {
    "fa2": ("SM80 or newer", range(8, 100)),
    "fa3": ("SM90", range(9, 10)),
    "cudnn": ("SM80 or newer", range(8, 100)),
    "trtllm-gen": ("SM100", range(10, 11)),
    "trtllm-fmha-v2": ("SM90 or SM12x", (9, 12)),
}


class FlashInferBackend(Backend):
    """Checks capability first: a kernel for another GPU must not be compiled or downloaded."""

    module: ClassVar = "flashinfer"
    devices: ClassVar = ("cuda",)
    layouts: ClassVar = ("NHD", "HND")
    kernels: ClassVar[str]  # FlashInfer's name for them, a key of SMS
    dtypes: ClassVar[tuple[Dtype, ...]] = ("bf16", "fp16")
    head_dims: ClassVar[tuple[int, ...]] = (64, 128, 256)

    def memory(self, case: Case, sets: int, machine: Machine) -> Bytes:
        held = paged_bytes(case, sets, case.block_size or DEFAULT_BLOCK_SIZE)
        return held | {"workspaces": self.workspace_bytes(case, machine)}

    @abstractmethod
    def workspace_bytes(self, case: Case, machine: Machine) -> int:
        """Bytes of the workspaces that all sets share."""

    def refusal(self, case: Case, machine: Machine) -> str | None:
        needed, majors = SMS[self.kernels]
        if machine.capability is not None and machine.capability[0] not in majors:
            return f"needs {needed}; this is {machine.sm} ({machine.name})"
        return super().refusal(case, machine) or self._kernel_refusal(case)

    def _kernel_refusal(self, case: Case) -> str | None:
        assert isinstance(case.shape, AttnShape)
        if case.dtype not in self.dtypes:
            return f"computes in {' and '.join(self.dtypes)}, not in {case.dtype}"
        if case.shape.head_dim not in self.head_dims:
            known = ", ".join(map(str, self.head_dims))
            return f"has no kernel for head dim {case.shape.head_dim} (it has {known})"
        return None
