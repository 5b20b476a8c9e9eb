"""The base of cache-write backends, which take keys and values, latents, or both."""

from abc import abstractmethod
from typing import ClassVar

from attnbench.kernels.base import Backend, Prepared, Setting
from attnbench.kernels.cache_write_base.keys_values import KeyValueWrite
from attnbench.kernels.cache_write_base.latents import LatentWrite
from attnbench.kernels.cache_write_base.prepared import write_bytes
from attnbench.kernels.memory import Bytes
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case, Dtype, KvDtype
from attnbench.specs.cost import ELEMENT_BYTES
from attnbench.specs.shape import MlaShape


class WriteBackend(Backend):
    """The shape decides what is written: keys and values of heads, or the latents of MLA."""

    layouts: ClassVar = ("NHD", "HND")
    knobs: ClassVar[frozenset[str]] = frozenset({"num_blocks"})
    kv_cache_dtypes: ClassVar[tuple[KvDtype, ...]] = ("auto", "fp8", "fp8_e4m3", "fp8_e5m2")
    latent_dtypes: ClassVar[tuple[KvDtype, ...]] = ()  # of an MLA cache; () if it writes no latents
    dtypes: ClassVar[tuple[Dtype, ...]] = ("bf16", "fp16", "fp32")
    fp8_capability: ClassVar[tuple[int, int]] = (0, 0)  # that its fp8 needs

    def num_decode(self, case: Case) -> int:
        return 0

    def prepare(self, case: Case, setting: Setting) -> Prepared:
        if isinstance(case.shape, MlaShape):
            return self.write_latents(LatentWrite(case, setting))
        return self.write_keys_values(KeyValueWrite(case, setting))

    def memory(self, case: Case, sets: int, machine: Machine) -> Bytes:
        l2_bytes = machine.l2_bytes if machine.kind == "cuda" else None
        return write_bytes(case, sets, l2_bytes or 0)

    @abstractmethod
    def write_keys_values(self, write: KeyValueWrite) -> KeyValueWrite:
        """`write` with its launches: `write.written_by(launch)`."""

    def write_latents(self, write: LatentWrite) -> LatentWrite:
        """The same for latents; called only if `latent_dtypes` is not empty."""
        raise NotImplementedError(f"{self.name} writes no latents")

    def refusal(self, case: Case, machine: Machine) -> str | None:
        if reason := super().refusal(case, machine):
            return reason
        fp8 = case.kv_cache_dtype.startswith("fp8")
        if fp8 and machine.kind == "cuda" and (machine.capability or (0, 0)) < self.fp8_capability:
            major, minor = self.fp8_capability
            return f"needs SM{major}{minor} for an fp8 cache; this is {machine.label}"
        return None

    def _case_refusal(self, case: Case) -> str | None:
        if case.dtype not in self.dtypes:
            return f"does not take --dtype {case.dtype} (it takes {', '.join(self.dtypes)})"
        if case.pool_gib is not None:
            return "has a cache of --num-blocks pages, so --pool-gib does not apply"
        if isinstance(case.shape, MlaShape):
            return self._latents_refusal(case, case.shape) or super()._case_refusal(case)
        if case.kv_cache_dtype == "fp8_ds_mla":
            return "fp8_ds_mla is a format of latents and needs --kind mla"
        return super()._case_refusal(case)

    def _latents_refusal(self, case: Case, shape: MlaShape) -> str | None:
        if not self.latent_dtypes:
            return "writes only keys and values of heads, no latents"
        if case.layout is not None:
            return "latents have no heads, so --layout does not apply"
        if case.kv_cache_dtype not in self.latent_dtypes:
            return (
                f"does not take --kv-cache-dtype {case.kv_cache_dtype} for latents (it takes "
                f"{', '.join(self.latent_dtypes)})"
            )
        if case.kv_cache_dtype == "fp8_ds_mla" and not _fits_ds_mla(case, shape):
            return (
                "fp8_ds_mla takes 512 latents and 64 RoPE elements of bf16 or fp16, not "
                f"{shape.kv_lora_rank} and {shape.qk_rope_head_dim} of {case.dtype}"
            )
        return None


def _fits_ds_mla(case: Case, shape: MlaShape) -> bool:
    dims = (shape.kv_lora_rank, shape.qk_rope_head_dim)
    return dims == (512, 64) and ELEMENT_BYTES[case.dtype] == 2
