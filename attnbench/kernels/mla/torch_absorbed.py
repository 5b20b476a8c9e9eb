"""MLA decode in the latent space, unfused, in PyTorch; with a threshold also the prefill path."""

from typing import ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.mla.torch_paths import TorchMlaPrepared
from attnbench.kernels.mla_base.backend import FP8, MlaBackend
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case


class TorchAbsorbed(MlaBackend):
    """Requests of at most `threshold` new tokens decode absorbed, the others take torch-mha."""

    name: ClassVar = "torch-absorbed"
    knobs: ClassVar = frozenset({"threshold"})
    features: ClassVar = frozenset({"index_topk"})
    kv_cache_dtypes: ClassVar = ("auto", *FP8, "fp8_ds_mla")
    path: ClassVar = "decode"

    def refusal(self, case: Case, machine: Machine) -> str | None:
        if case.knob("threshold") is not None and case.scope != "layer":
            return (
                "takes --thresholds at --scope layer alone: the decode and the prefill path do "
                "equal work only there"
            )
        if case.knob("threshold") is not None and case.index_topk is not None:
            return "selects keys on the decode path alone, so that --thresholds means nothing to it"
        return super().refusal(case, machine)

    def num_decode(self, case: Case) -> int:
        threshold = case.knob("threshold")
        if threshold is None:
            return len(case.batch)
        return sum(request.q_len <= int(threshold) for request in case.batch)

    def prepare(self, case: Case, setting: Setting) -> TorchMlaPrepared:
        return TorchMlaPrepared(case, setting, self.num_decode(case))
