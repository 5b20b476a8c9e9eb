"""FlashInfer's `append_paged_kv_cache`, and `append_paged_mla_kv_cache` for latents."""

from typing import ClassVar

from attnbench.kernels.cache_write_base.backend import WriteBackend
from attnbench.kernels.cache_write_base.fp8 import quantise
from attnbench.kernels.cache_write_base.keys_values import KeyValueWrite
from attnbench.kernels.cache_write_base.latents import LatentWrite
from attnbench.kernels.cache_write_base.requests import Requests
from attnbench.specs.case import Case
from attnbench.specs.cost import kv_element_bytes
from attnbench.specs.shape import AttnShape, MlaShape

HEAD_DIMS = (64, 128, 256, 512)
MOST_THREADS = 1024  # per block
QUANTISED_BY = {"quantised_by": "torch"}


class FlashInferWrite(WriteBackend):
    """It takes requests and positions instead of slots, and only copies: no padding, no quantising.

    So each token is the last of a request of its own with one page, the slot's. For an fp8 cache
    PyTorch quantises first, as FlashInfer's users do; that is part of the call.
    """

    name: ClassVar = "flashinfer"
    aliases: ClassVar = ("append_paged_kv_cache", "append_paged_mla_kv_cache")
    module: ClassVar = "flashinfer"
    devices: ClassVar = ("cuda",)
    dtypes: ClassVar = ("bf16", "fp16")
    latent_dtypes: ClassVar = ("auto", "fp8", "fp8_e4m3", "fp8_e5m2")

    def _case_refusal(self, case: Case) -> str | None:
        if reason := super()._case_refusal(case):
            return reason
        if isinstance(case.shape, MlaShape):
            dims = (case.shape.kv_lora_rank, case.shape.qk_rope_head_dim)
            if dims != (512, 64):
                return f"takes 512 latents and 64 RoPE elements, not {dims[0]} and {dims[1]}"
            return None
        return _heads_refusal(case, case.shape)

    def write_keys_values(self, write: KeyValueWrite) -> KeyValueWrite:
        from flashinfer import append_paged_kv_cache

        requests = write.requests = Requests.of(write.slots.pages, write.slots.offsets)
        stored = write.pool.pages.view(write.kv_dtype)  # as the layout orders it
        cache = (stored[:, 0], stored[:, 1])
        new = write.new[:, :, : write.num_tokens].unbind()
        scales = write.scales[:, None, None, None].to(write.dtype)

        def launch(index: int) -> None:
            values = new[index]  # [2, tokens, heads, head dim]
            if write.quantised:
                values = quantise(values, scales, write.kv_dtype)
            append_paged_kv_cache(
                values[0],
                values[1],
                requests.batch[index],
                requests.positions[index],
                cache,
                requests.pages[index],
                requests.indptr,
                requests.last_lengths[index],
                write.layout,
            )

        if write.quantised:
            write.resolved = {**write.resolved, **QUANTISED_BY}
        return write.written_by(launch, requests.bytes_a_set)

    def write_latents(self, write: LatentWrite) -> LatentWrite:
        from flashinfer import append_paged_mla_kv_cache

        requests = write.requests = Requests.of(write.slots.pages, write.slots.offsets)
        latent_cache, rope_cache = write.cache[..., : write.rank], write.cache[..., write.rank :]
        scale, tokens = write.scale.to(write.dtype), write.num_tokens

        def launch(index: int) -> None:
            latents, ropes = write.latents[index][:tokens], write.ropes[index][:tokens]
            if write.quantised:
                latents, ropes = (quantise(x, scale, write.kv_dtype) for x in (latents, ropes))
            append_paged_mla_kv_cache(
                latents,
                ropes,
                requests.batch[index],
                requests.positions[index],
                latent_cache,
                rope_cache,
                requests.pages[index],
                requests.indptr,
                requests.last_lengths[index],
            )

        if write.quantised:
            write.resolved = {**write.resolved, **QUANTISED_BY}
        return write.written_by(launch, requests.bytes_a_set)


def _heads_refusal(case: Case, shape: AttnShape) -> str | None:
    """A block of threads takes all heads of a token: 16 bytes per thread, or a 32nd of a head."""
    if shape.head_dim not in HEAD_DIMS:
        known = ", ".join(map(str, HEAD_DIMS))
        return f"does not take --head-size {shape.head_dim} (it takes {known})"
    elements = max(16 // kv_element_bytes(case), shape.head_dim // 32)
    threads = shape.num_kv_heads * shape.head_dim // elements
    if threads > MOST_THREADS:
        return (
            f"needs {threads} threads for {shape.num_kv_heads} heads of {shape.head_dim}, and a "
            f"block has at most {MOST_THREADS}: ask for fewer heads"
        )
    return None
