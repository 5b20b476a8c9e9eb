"""vLLM's CUDA kernels: `reshape_and_cache_flash`, and `concat_and_cache_mla` for latents."""

from typing import ClassVar

from attnbench.kernels.cache_write_base.backend import WriteBackend
from attnbench.kernels.cache_write_base.keys_values import KeyValueWrite
from attnbench.kernels.cache_write_base.latents import LatentWrite
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape

WARP = 32


class Cuda(WriteBackend):
    """Either layout, by the strides of the cache; one thread block per token, padding included."""

    name: ClassVar = "cuda"
    aliases: ClassVar = ("vllm", "reshape_and_cache_flash", "concat_and_cache_mla")
    module: ClassVar = "vllm"
    devices: ClassVar = ("cuda",)
    kv_cache_dtypes: ClassVar = ("auto", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_ds_mla")
    latent_dtypes: ClassVar = ("auto", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_ds_mla")

    def _case_refusal(self, case: Case) -> str | None:
        shape = case.shape
        if isinstance(shape, AttnShape) and case.layout == "HND":
            threads = shape.num_kv_heads * shape.head_dim
            if threads < WARP:  # no full warp: its loop over the heads would never end
                return f"needs at least {WARP} elements per token for HND, not {threads}"
        return super()._case_refusal(case)

    def write_keys_values(self, write: KeyValueWrite) -> KeyValueWrite:
        from vllm import _custom_ops

        return write.written_by_slots(_custom_ops.reshape_and_cache_flash)

    def write_latents(self, write: LatentWrite) -> LatentWrite:
        import torch
        from vllm import _custom_ops

        cache = write.cache.view(torch.uint8) if write.quantised else write.cache
        scale, name = write.scale.reshape(1), write.case.kv_cache_dtype

        def launch(index: int) -> None:
            _custom_ops.concat_and_cache_mla(
                write.latents[index], write.ropes[index], cache, write.mappings[index], name, scale
            )

        return write.written_by(launch)
