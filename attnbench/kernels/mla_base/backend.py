"""The refusals of every MLA backend; they import nothing."""

from typing import ClassVar

from attnbench.kernels.base import Backend
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case, Dtype, KvDtype, Scope
from attnbench.specs.cost import FP8_DS_MLA_TILE
from attnbench.specs.shape import MlaShape

FP8: tuple[KvDtype, ...] = ("fp8", "fp8_e4m3")


class MlaBackend(Backend):
    """Checks capability first: a kernel for another GPU must not be compiled or downloaded."""

    scopes: ClassVar[tuple[Scope, ...]] = ("kernel", "layer")
    sm_majors: ClassVar[tuple[int, ...]] = ()  # major versions of the SMs it runs on, () for all
    dtypes: ClassVar[tuple[Dtype, ...]] = ("bf16", "fp16", "fp32")
    # The dims its kernels are compiled for, by field of the shape; fields not named may be any.
    dims: ClassVar[dict[str, tuple[int, ...]]] = {}

    def refusal(self, case: Case, machine: Machine) -> str | None:
        major = None if machine.capability is None else machine.capability[0]
        if major is not None and self.sm_majors and major not in self.sm_majors:
            needed = " or ".join(f"SM{each}0" for each in self.sm_majors)
            return f"needs {needed}; this is {machine.sm} ({machine.name})"
        return super().refusal(case, machine) or self._latent_refusal(case)

    def _latent_refusal(self, case: Case) -> str | None:
        shape = case.shape
        assert isinstance(shape, MlaShape)
        if case.dtype not in self.dtypes:
            return f"computes in {' and '.join(self.dtypes)}, not in {case.dtype}"
        for name, known in self.dims.items():
            if (asked := getattr(shape, name)) not in known:
                return f"has no kernel for {name} {asked} (it has {_listed(known)})"
        if case.kv_cache_dtype == "fp8_ds_mla" and shape.kv_lora_rank % FP8_DS_MLA_TILE:
            return f"--kv-cache-dtype fp8_ds_mla scales {FP8_DS_MLA_TILE} elements at a time, " + (
                f"which do not divide --kv-lora-rank {shape.kv_lora_rank}"
            )
        return None


def _listed(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))
