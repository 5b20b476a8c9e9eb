"""Faults that reach the kernel itself: its memory, lengths and scales are wrong while it runs."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from attnbench.kernels.base import Prepared
from attnbench.kernels.inputs import raw
from attnbench.kernels.mutants.fault import Fault, Plant, over_fp8
from attnbench.kernels.mutants.planting import Planting
from attnbench.kernels.reference import AttentionPrepared

if TYPE_CHECKING:
    import torch

During = Callable[[Any, int], AbstractContextManager[None]]
LENGTHS = ("seq_lens", "seqused_k", "cache_seqlens")


def while_wrong(during: During, able: Callable[[Any], bool]) -> Plant:
    """A kernel that is launched within `during` of the prepared case and the set."""

    def plant(planting: Planting) -> Prepared | None:
        honest = planting.prepared
        if not isinstance(honest, AttentionPrepared) or not able(honest):
            return None
        honest.calls[0]()
        before = honest.output(0).clone()
        with during(honest, 0):
            honest.calls[0]()
        if before.equal(honest.output(0)):  # as where all of it was read before
            return None

        def call(index: int) -> None:
            with during(honest, index):
                honest.calls[index]()

        return planting.mutant(call=call)

    return plant


def pages_of(prepared: Any, index: int) -> "tuple[torch.Tensor, torch.Tensor] | None":
    """The pool of a paged case, and the pages of each request in it for a set."""
    if hasattr(prepared, "caches"):  # vLLM's layers, a cache each
        caches = prepared.caches
        return caches.pool, caches.tables.tables[0] + caches.first_pages[index]
    if not hasattr(prepared, "tables"):
        return None
    pool = prepared.kv if hasattr(prepared, "kv") else prepared.pool
    return raw(getattr(pool, "stored", pool)), prepared.tables.tables[index]


@contextmanager
def exchanged_page(prepared: Any, index: int) -> Iterator[None]:
    """The first request's last page is exchanged with the one of another set."""
    pool, own = pages_of(prepared, index)  # type: ignore[misc]
    _, others = pages_of(prepared, (index + 1) % len(prepared.calls))  # type: ignore[misc]
    last = -(-prepared.batch.requests[0].kv_len // prepared.resolved["block_size"]) - 1
    pair = [int(own[0, last]), int(others[0, last])]
    pool[pair] = pool[pair[::-1]]
    yield
    pool[pair] = pool[pair[::-1]]


@contextmanager
def shorter(prepared: Any, index: int) -> Iterator[None]:
    """Every request is one key shorter."""
    metadata = prepared.metadata
    lengths = tensors_named(metadata[index] if isinstance(metadata, list) else metadata, LENGTHS)
    right = [each.clone() for each in lengths]
    for each in lengths:
        each.sub_((each > 0).to(each.dtype))  # padding has length 0
    yield
    for each, length in zip(lengths, right, strict=True):
        each.copy_(length)


def tensors_named(held: Any, names: tuple[str, ...]) -> "list[torch.Tensor]":
    """The distinct tensors of those names in vLLM's metadata and its parts, not in theirs.

    Deeper down there may be a kernel's own objects, which refer to each other.
    """
    import torch

    parts = [each for each in vars(held).values() if hasattr(each, "__dict__")] if held else []
    found: dict[int, torch.Tensor] = {}
    for part in (held, *parts):
        given = getattr(part, "__dict__", {})
        tensors = [given[name] for name in names if isinstance(given.get(name), torch.Tensor)]
        found |= {each.data_ptr(): each for each in tensors}
    return list(found.values())


@contextmanager
def swapped_scales(prepared: Any, index: int) -> Iterator[None]:
    """The layer's scales of keys and values are exchanged."""
    _swap(prepared.layer)
    yield
    _swap(prepared.layer)


def _swap(layer: Any) -> None:
    for key, value in (("_k_scale", "_v_scale"), ("_k_scale_float", "_v_scale_float")):
        held = getattr(layer, key), getattr(layer, value)
        setattr(layer, key, held[1])
        setattr(layer, value, held[0])


def _has_lengths(prepared: Any) -> bool:
    metadata = getattr(prepared, "metadata", None)
    first = metadata[0] if isinstance(metadata, list) else metadata
    on_device = [each.device.type for each in tensors_named(first, LENGTHS)]
    return on_device.count("cuda") > 0


MEMORY_FAULTS = (
    Fault(
        "a page exchanged with another set's, in memory",
        while_wrong(exchanged_page, lambda p: pages_of(p, 0) is not None and len(p.calls) > 1),
    ),
    Fault("lengths one short, in the metadata", while_wrong(shorter, _has_lengths)),
    Fault(
        "k_scale and v_scale exchanged, in the layer",
        while_wrong(swapped_scales, lambda p: hasattr(p, "layer") and hasattr(p, "caches")),
        over_fp8,
    ),
)
