"""FlashAttention 3 over the latents, as vLLM serves it on Hopper."""

from typing import Any, ClassVar

from attnbench.kernels.vllm.mla_backend import VllmMlaBackend
from attnbench.kernels.vllm.mla_prepared import VllmMlaPrepared


class FlashAttnMla(VllmMlaBackend):
    """With `num_splits` N, FlashAttention splits the keys of a request into at most N parts.

    1 disables splitting, and its scheduler uses fewer splits where those fill the GPU. Without the
    knob vLLM allows 32 for batches it captures in graphs, up to 512 tokens, and leaves larger ones
    to a heuristic.
    """

    name: ClassVar = "flashattn_mla"
    aliases: ClassVar = ("flash_attn_mla",)
    enum: ClassVar = "FLASH_ATTN_MLA"
    knobs: ClassVar = VllmMlaBackend.knobs | {"num_splits"}
    sm_majors: ClassVar = (9,)
    query_lens: ClassVar = "varlen"
    own_threshold: ClassVar = 512
    dims: ClassVar = {"kv_lora_rank": (512,), "qk_rope_head_dim": (64,)}
    split_queries: ClassVar = True

    def scheduled(self, prepared: VllmMlaPrepared, metadata: Any) -> Any:
        """With a split count, schedule the tiles again: the schedule must agree with it."""
        splits, decode = prepared.case.knob("num_splits"), metadata.decode
        if splits is not None and decode is not None:
            decode.max_num_splits = int(splits)
            decode.scheduler_metadata = prepared.builder._schedule_decode(
                num_reqs=decode.seq_lens.shape[0],
                cu_query_lens=decode.query_start_loc,
                max_query_len=decode.max_query_len,
                seqlens=decode.seq_lens,
                max_seq_len=decode.max_seq_len,
                causal=True,
                max_num_splits=int(splits),
            )
        return metadata

    def facts(self, prepared: VllmMlaPrepared) -> dict[str, Any]:
        decode = prepared.metadata[0].decode
        return {} if decode is None else {"max_num_splits": int(decode.max_num_splits)}
