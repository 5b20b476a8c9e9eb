"""Unfused MLA decode in the latent space, in PyTorch; with a threshold, the prefill path too."""

from typing import ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.memory import Bytes
from attnbench.kernels.mla.torch_paths import TorchMlaPrepared, torch_bytes
from attnbench.kernels.mla_base.backend import FP8, MlaBackend
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case


class TorchAbsorbed(MlaBackend):
    """Requests of at most `threshold` new tokens decode absorbed, the others as in torch-mha."""

    name: ClassVar = "torch-absorbed"
    knobs: ClassVar = frozenset({"threshold"})
    features: ClassVar = frozenset({"index_topk"})
    kv_cache_dtypes: ClassVar = ("auto", *FP8, "fp8_ds_mla")
    path: ClassVar = "decode"

    def refusal(self, case: Case, machine: Machine) -> str | None:
        if case.knob("threshold") is not None and case.scope != "layer":
            return (
                "takes --thresholds only at --scope layer, where the decode and the prefill path "
                "do equal work"
            )
        if case.knob("threshold") is not None and case.index_topk is not None:
            return "selects keys only on the decode path, so --thresholds does not apply"
        return super().refusal(case, machine)

    def num_decode(self, case: Case) -> int:
        threshold = case.knob("threshold")
        if threshold is None:
            return len(case.batch)
        return sum(request.q_len <= int(threshold) for request in case.batch)

    def prepare(self, case: Case, setting: Setting) -> TorchMlaPrepared:
        return TorchMlaPrepared(case, setting, self.num_decode(case))

    def memory(self, case: Case, sets: int, machine: Machine) -> Bytes:
        return torch_bytes(case, self.num_decode(case), sets, machine)
