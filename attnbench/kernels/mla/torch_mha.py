"""MLA prefill on up-projected heads through PyTorch's SDPA."""

from typing import ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.memory import Bytes
from attnbench.kernels.mla.torch_paths import TorchMlaPrepared, torch_bytes
from attnbench.kernels.mla_base.backend import FP8, MlaBackend
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case


class TorchMha(MlaBackend):
    """All requests, decodes too, as multi-head attention."""

    name: ClassVar = "torch-mha"
    kv_cache_dtypes: ClassVar = ("auto", *FP8, "fp8_ds_mla")
    path: ClassVar = "prefill"

    def num_decode(self, case: Case) -> int:
        return 0

    def prepare(self, case: Case, setting: Setting) -> TorchMlaPrepared:
        return TorchMlaPrepared(case, setting, num_decode=0)

    def memory(self, case: Case, sets: int, machine: Machine) -> Bytes:
        return torch_bytes(case, self.num_decode(case), sets, machine)
