"""Standard attention as vLLM serves it, on its own layer, builder and impl."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from attnbench.kernels.base import Refused, Setting
from attnbench.kernels.cache_write_base.fp8 import quantise
from attnbench.kernels.groups import Keys
from attnbench.kernels.heads import HeadsPrepared
from attnbench.kernels.inputs import PageTables, least_pages, normal, redraw, seeded, torch_dtype
from attnbench.kernels.needles import sink_logits
from attnbench.kernels.paged import QUERY_SCALE
from attnbench.kernels.rows import Rows
from attnbench.kernels.tolerance import attention
from attnbench.kernels.vllm.attention_layer import attention_layer, cache_spec, metadata_builder
from attnbench.kernels.vllm.caches import LayerCaches
from attnbench.kernels.vllm.forward import (
    computes_in_fp8,
    forward_layer,
    inside_facts,
    takes_fp8,
)
from attnbench.kernels.vllm.kv_cache import (
    CacheFormat,
    cache_format,
    required_layout,
    use_layout,
)
from attnbench.kernels.vllm.metadata import common_metadata, layer_tables
from attnbench.kernels.vllm.served import Served
from attnbench.kernels.vllm.startup import activate, start
from attnbench.specs.case import Case, Value
from attnbench.specs.cost import seen_kv_len

if TYPE_CHECKING:
    import torch
    from vllm.config import VllmConfig

ANOTHER_WINDOW = 128  # of the second kind of layer beside one without a window; gpt-oss's


class VllmPrepared(HeadsPrepared):
    """Each set is a layer: its own cache, queries, new keys and values, and output.

    The layers share page tables and metadata, built once outside the timed call, as in production.
    """

    resolved: dict[str, Value]

    def __init__(
        self,
        cls: Any,
        config: "VllmConfig",
        case: Case,
        setting: Setting,
        page: int,
        *,
        nan_tails: bool,
    ) -> None:
        import torch

        super().__init__(case, setting, page)
        self.cls, self.nan_tails = cls, nan_tails
        generator = seeded(setting.device, setting.seed)
        # bf16 as in gpt-oss and as FlashAttention requires.
        self.sinks = sink_logits(case, torch.bfloat16, generator) if case.sinks else None
        activate(config)
        start(setting.device)
        format_, tables = self._pages(config, page, setting.sets, generator)
        self.layer = self._layer(config)
        spec = cache_spec(self.layer, config, page)
        self.builder = metadata_builder(cls, self.layer, spec, config, setting.device)
        self.served = Served.of(case, config, type(self.builder), spec, graphs=setting.graphs)
        common = common_metadata(
            case.batch,
            tables,
            room=config.model_config.max_model_len,
            padding=self.served.padding,
        )
        self.metadata = self.served.build(self.builder, common)
        self.plan = partial(self.builder.build, 0, common)
        self._fill(format_, tables, setting, generator)
        self.calls = [self._launch(common.slot_mapping, index) for index in range(setting.sets)]
        self.resolved = self._facts(format_)

    def _layer(self, config: "VllmConfig") -> Any:
        """The layer of all sets; beside it one of another window if the model has several."""
        make = partial(attention_layer, self.cls, config, self.case)
        layer = make(self.case.window, self.sinks, self.device)
        if self.case.knob("mixed_windows"):  # the builder looks at all layers of the model
            make(ANOTHER_WINDOW if self.case.window is None else None, self.sinks, self.device)
        return layer

    def _pages(
        self, config: "VllmConfig", page: int, sets: int, generator: "torch.Generator"
    ) -> tuple[CacheFormat, PageTables]:
        """The backend's cache format, and the pages that the requests own."""
        case, shape, cls = self.case, self.shape, self.cls
        use_layout(config, case.layout or required_layout(cls) or "NHD")
        if hasattr(cls, "set_head_size_v"):  # of classes whose V may have another head size
            cls.set_head_size_v(shape.head_dim)
        least = least_pages(case, page, sets)
        tables = layer_tables(case.batch, page, generator, case.page_order, least)
        config.cache_config.num_gpu_blocks = tables.num_pages
        sizes = (tables.num_pages, page, shape.num_kv_heads, shape.head_dim)
        format_ = cache_format(cls, config, *sizes)
        if case.layout not in (None, format_.layout):
            raise Refused(f"does not take --layout {case.layout} (it takes {format_.layout})")
        return format_, tables

    def _facts(self, format_: CacheFormat) -> dict[str, Value]:
        quantised = self.layer.query_quant is not None
        query_dtype = self.caches.kv_dtype if quantised else self.queries.dtype
        return {
            "class": self.cls.__name__,
            "block_size": self.caches.tables.block_size,
            "layout": format_.layout,
            "kv_cache_dtype": _name(self.caches.kv_dtype),
            "query_dtype": _name(query_dtype),
            "page_tails": "NaN" if self.nan_tails else "large",
            **inside_facts(self.case, self.cls, self.layer, self.metadata),
            **self.served.facts(self.batch),
        }

    def _fill(
        self,
        format_: CacheFormat,
        tables: PageTables,
        setting: Setting,
        generator: "torch.Generator",
    ) -> None:
        import torch
        from torch.nn.functional import pad

        case, shape, dtype = self.case, self.shape, torch_dtype(self.case.dtype)
        sets, padding = setting.sets, self.served.padding
        kv_dtype = dtype if case.kv_cache_dtype == "auto" else torch_dtype(case.kv_cache_dtype)
        self.caches = LayerCaches(format_, tables, sets, dtype, kv_dtype)
        self.caches.fill(case.batch, case.kv_data, generator, nan_tails=self.nan_tails)
        ends = (sets, case.batch.num_tokens + padding, shape.num_q_heads, shape.head_dim)
        self.queries = normal(ends, dtype, generator)
        self.lay_needles(sets, setting.seed, large_tails=not self.nan_tails)
        self.slots = self.caches.slots(case.batch)
        self.new = pad(self._cached_tokens().to(dtype), (0, 0, 0, 0, 0, padding)).contiguous()
        self._round_queries()
        self.fp8_queries = list[torch.Tensor]()  # by set, if calls take such
        self.outputs = list(torch.full_like(self.queries, float("nan")))
        in_fp8 = computes_in_fp8(self.layer, self.metadata)
        weights = "fp8" if in_fp8 else None
        self.tolerance = attention(case.dtype, weights=weights, more=int(case.sinks))
        seen = (seen_kv_len(request, case.window) for request in case.batch)
        pages = sum(-(-length // tables.block_size) for length in seen)
        tokens = case.batch.num_tokens
        self.touched_bytes = pages * self.caches.page_bytes + 2 * self.queries[0, :tokens].nbytes
        if case.scope == "layer":
            self.touched_bytes += self.new[0, :, :tokens].nbytes

    def _cached_tokens(self) -> "torch.Tensor":
        """The new tokens as the caches hold them, fp32 [sets, 2, tokens, heads, dim]."""
        return self.caches.values(self.caches.pool[self.slots]).transpose(1, 2)

    def _round_queries(self) -> None:
        """Beside an fp8 cache, to values that are exact in fp8, whoever quantises them."""
        if self.caches.quantised:
            for each in self.queries:
                each.copy_(self._in_fp8(each).float() * QUERY_SCALE)

    def _in_fp8(self, queries: "torch.Tensor") -> "torch.Tensor":
        return quantise(queries, QUERY_SCALE, self.caches.kv_dtype)

    def renew(self, seed: int) -> None:
        """New queries, and at scope layer new keys and values; at scope kernel nothing need write.

        Those stand in the caches too, rounded as they store them.
        """
        redraw(self.queries, self.queries.dtype, seed)
        if self.case.scope == "layer":
            generator = seeded(self.device, seed + 1)
            self.caches.refill(self.slots, self.case.kv_data, generator)
            self.plant(new_alone=True)
            self.new[:, :, : self.batch.num_tokens].copy_(self._cached_tokens())
        self._round_queries()
        for held, queries in zip(self.fp8_queries, self.queries, strict=False):
            held.copy_(self._in_fp8(queries))

    def _launch(self, slots: "torch.Tensor", index: int) -> Callable[[], object]:
        """The launch of one layer; it refers to the tensors, not to this object."""
        layer, (key, value) = self.layer, self.new[index]
        cache, query = self.caches.views[index], self.queries[index]
        rest = (key, value, cache, self.metadata, self.outputs[index])
        if self.case.scope == "kernel":
            if takes_fp8(self.case, layer, self.metadata):
                query = self._in_fp8(query)
                self.fp8_queries.append(query)
            return partial(layer.impl.forward, layer, query, *rest)
        steps: list[Callable[[], object]] = []
        if not self.cls.forward_includes_kv_cache_update:
            update = layer.impl.do_kv_cache_update
            steps.append(partial(update, layer, key, value, cache, slots))
        return partial(forward_layer, layer, query, steps, rest)

    def output(self, index: int) -> "torch.Tensor":
        """Without the tokens of padding."""
        return self.outputs[index][: self.batch.num_tokens].flatten(0, 1)

    def poison(self, index: int) -> None:
        """At scope layer also the slots of the new tokens, which the call has to write."""
        super().poison(index)
        if self.case.scope == "layer":
            where = (self.slots[0][index], self.slots[1][index])
            self.caches.pool[where] = self.caches.nan

    def damage(self, index: int) -> str | None:
        where = (self.slots[0][index], self.slots[1][index])
        held = self.caches.values(self.caches.pool[where])
        written = self.new[index, :, : self.batch.num_tokens]
        if bool((held.transpose(0, 1) == written.float()).all()):
            return None
        return "the slots of the new tokens do not hold the keys and values that were written"

    def keys_at(self, at: Keys) -> "torch.Tensor":
        return self.caches.keys(at)

    def put_keys(self, at: Keys, keys: "torch.Tensor") -> None:
        self.caches.put_keys(at, keys)

    def gathered(self, rows: Rows, kv_heads: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        table = self.caches.tables.of_each(0, rows.group, rows.requests)
        pages = self.caches.first_pages[rows.sets][:, None] + table
        kv = self.caches.pool[pages, :, :, kv_heads[:, None]].flatten(1, 2)  # [n, tokens, 2, d]
        keys, values = self.caches.values(kv[:, : rows.group.kv_len], heads=False).unbind(2)
        return keys, values


def _name(dtype: "torch.dtype") -> str:
    return str(dtype).removeprefix("torch.")
