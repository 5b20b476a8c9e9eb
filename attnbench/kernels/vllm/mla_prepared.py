"""An MLA case on vLLM's own layer, builder and impl.

Scope layer is `MLAAttention.forward`: the impl's `do_kv_cache_update` of the new latents, then
`forward_impl`: for decodes the W_UK product, the impl's `forward_mqa` and the W_UV product, for
prefills its `forward_mha` with kv_b_proj. Scope kernel is `forward_mqa` for decodes and, for
prefills, `forward_mha` with the results of kv_b_proj made beforehand; it still gathers the context,
joins keys and merges parts, as in vLLM, and finds the new tokens in the cache. Where `forward_mqa`
joins two parts of queries, it gets them joined, and the row says so. Building metadata is the plan.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from attnbench.kernels.base import Refused, Setting
from attnbench.kernels.inputs import UNUSED_ENTRY
from attnbench.kernels.mla_base.prepared import MlaPrepared
from attnbench.kernels.reference import rotating
from attnbench.kernels.tolerance import MLA_ROUNDINGS, Tolerance, attention
from attnbench.kernels.vllm.metadata import NO_SLOT, common_metadata
from attnbench.kernels.vllm.mla_layer import ReadyHeads, metadata_builder, mla_layers, update_cache
from attnbench.kernels.vllm.mla_prefill import prefill_that_runs
from attnbench.kernels.vllm.mla_queries import in_two_parts, joined, overwrite
from attnbench.kernels.vllm.served import Served
from attnbench.records import OUTSIDE, QUERY_JOIN
from attnbench.specs.case import Case

if TYPE_CHECKING:
    import torch
    from vllm.config import VllmConfig


class Hooks(Protocol):
    """The part of a backend that its preparation needs; VllmMlaBackend documents the members."""

    sparse: ClassVar[bool]
    nan_tails: ClassVar[bool]
    split_queries: ClassVar[bool]

    def num_decode(self, case: Case) -> int: ...

    def configure(self, prepared: "VllmMlaPrepared") -> None: ...

    def decodes(self, prepared: "VllmMlaPrepared", metadata: Any) -> int: ...

    def scheduled(self, prepared: "VllmMlaPrepared", metadata: Any) -> Any: ...

    def facts(self, prepared: "VllmMlaPrepared") -> dict[str, Any]: ...


class VllmMlaPrepared(MlaPrepared):
    """All sets share a builder, and at scope kernel the layer; each has its own metadata."""

    def __init__(
        self,
        backend: Hooks,
        cls: Any,
        config: "VllmConfig",
        case: Case,
        setting: Setting,
        block_size: int,
        served: Served,
    ) -> None:
        super().__init__(
            case,
            setting,
            backend.num_decode(case),
            block_size,
            nan_tails=backend.nan_tails,
            padding=served.padding,
        )
        self.backend, self.cls, self.served = backend, cls, served
        topk = None if self.topk is None else self.topk[0]
        self.layers = mla_layers(cls, config, self.shape, list(self.weights), topk)
        self.impl: Any = self.layers[0].impl
        in_fp8 = case.kv_cache_dtype.startswith("fp8")
        if in_fp8 and self.impl.supports_quant_query_input:
            self.take_fp8_queries()
        self.tolerance = self._tolerance()
        self.cache = self._cache(quantised=in_fp8)
        self.builder = metadata_builder(cls, self.layers[0], config, block_size, setting.device)
        backend.configure(self)
        self.metadata = [self._built(index) for index in range(setting.sets)]
        self.plan = self._planned
        self._prepare_inputs(setting.sets)
        self.calls = rotating(self._launch_layer if self.layer else self._launch, setting.sets)
        self._first_pass()
        self._describe(config)

    def _tolerance(self) -> Tolerance:
        case = self.case
        more = MLA_ROUNDINGS if self.layer or self.num_decode < len(case.batch) else 0
        weights = "fp8" if self.fp8_queries else None
        # FlashMLA rounds the scales of fp8_ds_mla, and thereby scores, to bf16.
        scores = self.largest_score() if case.kv_cache_dtype == "fp8_ds_mla" else 0.0
        return attention(case.dtype, weights=weights, more=more, scores=scores)

    def _cache(self, *, quantised: bool) -> "torch.Tensor":
        """The cache as `forward_impl` passes it to the impl; at scope layer, as it receives it."""
        stored = self.pool.stored
        if self.layer or not quantised or self.case.kv_cache_dtype == "fp8_ds_mla":
            return stored
        from vllm.platforms import current_platform

        return stored.view(current_platform.fp8_dtype())

    def _common(self, index: int) -> Any:
        """What the builder is given for a set."""
        import torch

        nobody = self.tables.strangers[0].int()
        table = torch.where(self.tables.tables == UNUSED_ENTRY, nobody, self.tables.tables)
        return common_metadata(
            self.batch,
            replace(self.tables, tables=table),
            index,
            room=self.served.max_model_len or 0,
            padding=self.padding,
            null_page=int(nobody),
        )

    def _planned(self) -> None:
        """The host's work before a call."""
        self.builder.build(0, self._common(0))

    def _built(self, index: int) -> Any:
        """The metadata of a set. Raises Refused unless it splits the batch as `num_decode` says."""
        metadata = self.served.build(self.builder, self._common(index))
        metadata = self.backend.scheduled(self, metadata)
        decodes = self.backend.decodes(self, metadata) - self.padding
        if decodes != self.num_decode:
            raise Refused(
                f"expected {self.num_decode} of {len(self.batch)} requests on the decode path, "
                f"but this vLLM's builder sends {decodes}"
            )
        return metadata

    def _prepare_inputs(self, sets: int) -> None:
        """Make the tensors that launches pass on."""
        from torch.nn.functional import pad

        rank = self.shape.kv_lora_rank
        new = pad(self.new_latents, (0, 0, 0, self.padding))
        self.compressed = [each[:, :rank].contiguous() for each in new]
        self.rope = [each[:, None, rank:].contiguous() for each in new]
        self.mappings = pad(self.slots, (0, self.padding), value=NO_SLOT)
        taken = () if self.layer else self.decode_queries
        self.kernel_queries: list[Any] = [self._as_taken(each) for each in taken]
        self.no_result = self.decode_queries.new_empty(0)
        self.has_prefill = self.decode_tokens < self.batch.num_tokens
        projection = self.layers[0].kv_b_proj
        self.ready = [ReadyHeads(projection) for _ in range(0 if self.layer else sets)]

    def renew(self, seed: int) -> None:
        super().renew(seed)
        for held, queries in zip(self.kernel_queries, self.decode_queries, strict=False):
            overwrite(held, self._as_taken(queries))
        rank, tokens = self.shape.kv_lora_rank, self.batch.num_tokens
        for compressed, rope, new in zip(self.compressed, self.rope, self.new_latents, strict=True):
            compressed[:tokens].copy_(new[:, :rank])
            rope[:tokens].copy_(new[:, None, rank:])

    def _as_taken(self, queries: "torch.Tensor") -> Any:
        """Queries of a set as the kernel in `forward_mqa` takes them."""
        heads, rank = self.layers[0].q_pad_num_heads, self.shape.kv_lora_rank
        if self.fp8_queries or self._joins_queries:
            return joined(queries, heads)
        return in_two_parts(queries, rank, heads)

    @property
    def _joins_queries(self) -> bool:
        """Whether a server's `forward_mqa` is passed queries in two parts and joins them."""
        return not (self.backend.split_queries or self.fp8_queries)

    def _launch_layer(self, index: int) -> None:
        layer = self.layers[index]
        self._select(layer.impl, index)
        new = self.compressed[index], self.rope[index]
        update_cache(layer, new, self.cache, self.mappings[index], self.metadata[index])
        layer.forward_impl(
            self.queries[index],
            *new,
            self.cache,
            self.metadata[index],
            self.whole_outputs[index].flatten(1),
        )

    def _launch(self, index: int) -> None:
        """Prefills first, as in `forward_impl`."""
        impl, layer, metadata = self.impl, self.layers[0], self.metadata[index]
        if self.has_prefill:
            impl.kv_b_proj = self.ready[index]
            impl.forward_mha(
                self.prefill_queries[index],
                self.compressed[index][self.decode_tokens :],
                self.rope[index][self.decode_tokens :],
                self.cache,
                metadata,
                layer._k_scale,
                output=self.prefill_outputs[index].flatten(1),
            )
        if self.decode_tokens:
            self._select(impl, index)
            # Free the last result first, so a hot call writes to the same memory as before.
            self.decode_outputs[index] = self.no_result
            result, _ = impl.forward_mqa(self.kernel_queries[index], self.cache, metadata, layer)
            self.decode_outputs[index] = result

    def _select(self, impl: Any, index: int) -> None:
        """Give a sparse impl the set's own indices."""
        if self.topk is not None:
            impl.topk_indices_buffer = self.topk[index]

    def _first_pass(self) -> None:
        """Launch every set: kernels compile, and FlashMLA makes the schedule of each metadata."""
        for call in self.calls:
            call()
        if self.ready and self.has_prefill:
            held = [each.recorded() for each in self.ready]
            self.touched_bytes += held[0]

    def _describe(self, config: "VllmConfig") -> None:
        self.resolved |= {
            "backend_class": self.cls.__name__,
            "cudagraph_mode": config.compilation_config.cudagraph_mode.name,
            **self.served.facts(self.batch),
        }
        if not self.backend.sparse:
            self.resolved |= {"threshold": int(self.builder.reorder_batch_threshold)}
        if self.fp8_queries:
            self.resolved |= {"queries": "fp8"}
        if self.decode_tokens and not self.layer and self._joins_queries:
            self.resolved |= {OUTSIDE: QUERY_JOIN}
        if self.has_prefill:
            asked = self.case.knob("prefill_backend")
            self.resolved |= {"prefill_backend": prefill_that_runs(self.metadata[0], asked)}
        self.resolved |= self.backend.facts(self)
