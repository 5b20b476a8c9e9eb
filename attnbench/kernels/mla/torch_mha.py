"""MLA prefill on up-projected heads through PyTorch's SDPA."""

from typing import ClassVar

from attnbench.kernels.base import Backend, Setting
from attnbench.kernels.mla.torch_paths import TorchMlaPrepared
from attnbench.specs.case import Case


class TorchMha(Backend):
    """Every request, decodes too, as multi-head attention."""

    name: ClassVar = "torch-mha"
    scopes: ClassVar = ("kernel", "layer")
    path: ClassVar = "prefill"

    def num_decode(self, case: Case) -> int:
        return 0

    def prepare(self, case: Case, setting: Setting) -> TorchMlaPrepared:
        return TorchMlaPrepared(case, setting, num_decode=0)
