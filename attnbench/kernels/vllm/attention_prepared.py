"""Standard attention as vLLM serves it, on its own layer, builder and impl."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from attnbench.kernels.base import Refused, Setting
from attnbench.kernels.cache_write_base.fp8 import quantise
from attnbench.kernels.inputs import PageTables, normal, seeded, torch_dtype
from attnbench.kernels.paged import KEY_SCALE, QUERY_SCALE, VALUE_SCALE
from attnbench.kernels.reference import AttentionPrepared, Rows, attend
from attnbench.kernels.tolerance import BY_DTYPE, FP8_PROBABILITIES
from attnbench.kernels.vllm.caches import LayerCaches
from attnbench.kernels.vllm.kv_cache import CacheFormat, cache_format, use_layout
from attnbench.kernels.vllm.metadata import common_metadata, layer_tables
from attnbench.kernels.vllm.startup import activate, start
from attnbench.specs.case import Case, Value
from attnbench.specs.cost import seen_kv_len
from attnbench.specs.shape import AttnShape

if TYPE_CHECKING:
    import torch
    from vllm.config import VllmConfig

_layer_numbers = count()


class VllmPrepared(AttentionPrepared):
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

        assert isinstance(case.shape, AttnShape)
        super().__init__(case.batch, case.shape.num_q_heads, page)
        self.case, self.shape, self.cls, self.nan_tails = case, case.shape, cls, nan_tails
        self.device, self.key_dim = setting.device, self.shape.head_dim
        self.scale = self.shape.head_dim**-0.5
        generator = seeded(setting.device, setting.seed)
        # bf16 as in gpt-oss and as FlashAttention requires.
        self.sinks = normal((self.num_heads,), torch.bfloat16, generator) if case.sinks else None
        activate(config)
        start(setting.device)
        format_, tables = self._pages(config, page, generator)
        self.layer = self._layer(config)
        self.builder = _builder(cls, self.layer, config, page, setting.device)
        room = config.model_config.max_model_len
        common = common_metadata(case.batch, tables, max_model_len=room)
        self.metadata = self.builder.build(0, common)
        self.plan = partial(self.builder.build, 0, common)
        self._fill(format_, tables, setting.sets, generator)
        self.calls = [self._launch(common.slot_mapping, index) for index in range(setting.sets)]
        self.resolved = self._facts(format_)

    def _pages(
        self, config: "VllmConfig", page: int, generator: "torch.Generator"
    ) -> tuple[CacheFormat, PageTables]:
        """The backend's cache format, and the pages that the requests own."""
        case, shape, cls = self.case, self.shape, self.cls
        use_layout(config, case.layout or "NHD")
        if hasattr(cls, "set_head_size_v"):  # of classes whose V may have another head size
            cls.set_head_size_v(shape.head_dim)
        tables = layer_tables(case.batch, page, generator, case.page_order)
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
        }

    def _layer(self, config: "VllmConfig") -> Any:
        """vLLM's own attention layer, with the scales that a quantised model brings."""
        import torch
        from vllm.model_executor.layers.attention import Attention

        extra = {} if self.sinks is None else {"sinks": self.sinks}
        with torch.device(self.device), _refusals_of(self.cls.get_name()):
            layer = Attention(
                self.shape.num_q_heads,
                self.shape.head_dim,
                self.scale,
                num_kv_heads=self.shape.num_kv_heads,
                cache_config=config.cache_config,
                logits_soft_cap=self.case.softcap,
                per_layer_sliding_window=self.case.window,
                prefix=f"attnbench.layers.{next(_layer_numbers)}.attn",
                attn_backend=self.cls,
                **extra,
            )
        layer.process_weights_after_loading(torch_dtype(self.case.dtype))
        if self.case.kv_cache_dtype != "auto":
            for name, value in zip("qkv", (QUERY_SCALE, KEY_SCALE, VALUE_SCALE), strict=True):
                _set_scale(layer, name, value)
        return layer

    def _fill(
        self, format_: CacheFormat, tables: PageTables, sets: int, generator: "torch.Generator"
    ) -> None:
        import torch

        case, shape, dtype = self.case, self.shape, torch_dtype(self.case.dtype)
        kv_dtype = dtype if case.kv_cache_dtype == "auto" else torch_dtype(case.kv_cache_dtype)
        self.caches = LayerCaches(format_, tables, sets, dtype, kv_dtype)
        self.caches.fill(case.batch, case.kv_data, generator, nan_tails=self.nan_tails)
        self.slots = self.caches.slots(case.batch)
        new = self.caches.values(self.caches.pool[self.slots])  # [sets, tokens, 2, heads, dim]
        self.new = new.transpose(1, 2).to(dtype).contiguous()
        ends = (sets, case.batch.num_tokens, shape.num_q_heads, shape.head_dim)
        self.queries = normal(ends, dtype, generator)
        if self.caches.quantised:  # to values that are exact in fp8, whoever quantises them
            for each in self.queries:
                each.copy_(quantise(each, QUERY_SCALE, kv_dtype).float() * QUERY_SCALE)
        self.outputs = list(torch.full_like(self.queries, float("nan")))
        self.tolerance = BY_DTYPE[case.dtype]
        if self.caches.quantised:
            self.tolerance = self.tolerance.plus(FP8_PROBABILITIES)
        seen = (seen_kv_len(request, case.window) for request in case.batch)
        pages = sum(-(-length // tables.block_size) for length in seen)
        self.touched_bytes = pages * self.caches.page_bytes + 2 * self.queries[0].nbytes
        if case.scope == "layer":
            self.touched_bytes += self.new[0].nbytes

    def _launch(self, slots: "torch.Tensor", index: int) -> Callable[[], object]:
        """The launch of one layer; it refers to the tensors, not to this object."""
        layer, (key, value) = self.layer, self.new[index]
        cache, query = self.caches.views[index], self.queries[index]
        if layer.query_quant is not None:  # production quantises before the layer's forward
            query = quantise(query, QUERY_SCALE, self.caches.kv_dtype)
        attention = partial(
            layer.impl.forward, layer, query, key, value, cache, self.metadata, self.outputs[index]
        )
        if self.case.scope == "kernel" or self.cls.forward_includes_kv_cache_update:
            return attention
        update = partial(layer.impl.do_kv_cache_update, layer, key, value, cache, slots)
        return partial(_one_after_the_other, update, attention)

    def poison(self, index: int) -> None:
        """At scope layer also the slots of the new tokens, which the call has to write."""
        super().poison(index)
        if self.case.scope == "layer":
            where = (self.slots[0][index], self.slots[1][index])
            self.caches.pool[where] = self.caches.nan

    def damage(self, index: int) -> str | None:
        where = (self.slots[0][index], self.slots[1][index])
        held = self.caches.values(self.caches.pool[where])
        if bool((held.transpose(0, 1) == self.new[index].float()).all()):
            return None
        return "the slots of the new tokens do not hold the keys and values that were written"

    def attended(self, rows: Rows) -> "torch.Tensor":
        tables = self.caches.tables
        kv_heads = rows.heads * self.shape.num_kv_heads // self.shape.num_q_heads
        table = tables.of(0, rows.group)[rows.requests]
        pages = self.caches.first_pages[rows.sets][:, None] + table
        kv = self.caches.pool[pages, :, :, kv_heads[:, None]].flatten(1, 2)  # [n, tokens, 2, d]
        kv = self.caches.values(kv[:, : rows.group.kv_len], heads=False)
        return attend(
            self.queries[rows.sets, rows.tokens, rows.heads],
            kv[:, :, 0],
            kv[:, :, 1],
            rows.seen,
            self.scale,
            window=self.case.window,
            softcap=self.case.softcap,
            sinks=None if self.sinks is None else self.sinks[rows.heads],
        )


def _builder(cls: Any, layer: Any, config: "VllmConfig", page: int, device: str) -> Any:
    """The backend's metadata builder for that one layer."""
    import torch

    # The spec of a windowed layer has the smallest page size, not the one in use.
    spec = replace(layer.get_kv_cache_spec(config), block_size=page)
    make = cls.get_builder_cls()
    with _refusals_of(cls.get_name()):
        return make(spec, [layer.layer_name], config, torch.device(device))


def _name(dtype: "torch.dtype") -> str:
    return str(dtype).removeprefix("torch.")


@contextmanager
def _refusals_of(name: str) -> Iterator[None]:
    """Some backends find out only while they are built that they cannot serve the case."""
    try:
        yield
    except (NotImplementedError, ImportError) as error:
        raise Refused(f"vLLM's {name} says: {next(iter(str(error).splitlines()), '')}") from error


def _set_scale(layer: Any, name: str, value: float) -> None:
    """Set the scale of q, k or v everywhere an impl may read it."""
    getattr(layer, f"_{name}_scale").fill_(value)
    setattr(layer, f"_{name}_scale_float", value)
    if hasattr(layer, f"_{name}_scale_cpu"):
        getattr(layer, f"_{name}_scale_cpu").fill_(value)


def _one_after_the_other(first: Callable[[], object], second: Callable[[], object]) -> None:
    first()
    second()
