"""Faults of kernels that write to the cache, planted in its memory after a call."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attnbench.kernels.base import Prepared
from attnbench.kernels.cache_write_base.fp8 import quantise
from attnbench.kernels.cache_write_base.keys_values import KeyValueWrite
from attnbench.kernels.cache_write_base.pool import POISON
from attnbench.kernels.cache_write_base.prepared import CacheWrite
from attnbench.kernels.mutants.fault import Fault, Plant, over_bf16, over_fp8
from attnbench.kernels.mutants.planting import Planting

if TYPE_CHECKING:
    import torch

# Changes the stored bytes of a set's tokens, uint8 [tokens, bytes] with keys before values, and
# returns them.
Change = Callable[[Any, "torch.Tensor"], "torch.Tensor"]


def stored_as(change: Change) -> Plant:
    """A kernel that stores its tokens changed."""

    def plant(planting: Planting) -> Prepared | None:
        honest = planting.prepared
        if not isinstance(honest, CacheWrite):
            return None
        honest.calls[0]()
        before = read(honest, 0)
        if before.equal(change(honest, before.clone())):
            return None

        def call(index: int) -> None:
            honest.calls[index]()
            write(honest, index, change(honest, read(honest, index)))

        return planting.mutant(call=call)

    return plant


def _slots(prepared: Any, index: int) -> "tuple[torch.Tensor, Any]":
    """The cache in bytes, and where in it the tokens of a set are."""
    import torch

    pages, offsets = prepared.slots.pages[index], prepared.slots.offsets[index]
    cache = prepared.cache.view(torch.uint8)
    if isinstance(prepared, KeyValueWrite):
        return cache, (pages, slice(None), offsets)
    return cache, (pages, offsets)


def read(prepared: Any, index: int) -> "torch.Tensor":
    """A copy of what the slots of a set hold, uint8 [tokens, bytes]."""
    cache, where = _slots(prepared, index)
    return cache[where].flatten(1)


def write(prepared: Any, index: int, held: "torch.Tensor") -> None:
    """Store those bytes in the slots of a set."""
    cache, where = _slots(prepared, index)
    cache[where] = held.view(cache[where].shape)


def lose_last(prepared: Any, held: "torch.Tensor") -> "torch.Tensor":
    """The last token is not written."""
    held[-1] = POISON
    return held


def lose_middle(prepared: Any, held: "torch.Tensor") -> "torch.Tensor":
    """A token in the middle is not written."""
    held[len(held) // 2] = POISON
    return held


def lose_end(prepared: Any, held: "torch.Tensor") -> "torch.Tensor":
    """The last eight bytes of each token are not written."""
    held[:, -8:] = POISON
    return held


def next_token(prepared: Any, held: "torch.Tensor") -> "torch.Tensor":
    """Each token has the next one's data."""
    return held.roll(-1, 0)


def swap_tokens(prepared: Any, held: "torch.Tensor") -> "torch.Tensor":
    """Two tokens are exchanged."""
    held[:2] = held[:2].flip(0)
    return held


def swap_halves(prepared: Any, held: "torch.Tensor") -> "torch.Tensor":
    """Values in place of keys, and the other way round; or latents turned by half."""
    return held.roll(held.shape[1] // 2, 1)


def swap_heads(prepared: Any, held: "torch.Tensor") -> "torch.Tensor":
    """The heads of keys and of values are turned by one."""
    if not isinstance(prepared, KeyValueWrite):
        return held
    heads = prepared.shape.num_kv_heads
    return held.unflatten(1, (2, heads, -1)).roll(1, 2).flatten(1)


def wrong_bit(prepared: Any, held: "torch.Tensor") -> "torch.Tensor":
    """The last bit of one element of each token."""
    held[:, 0] ^= 1
    return held


def truncated(prepared: Any, held: "torch.Tensor") -> "torch.Tensor":
    """Elements that were rounded away from zero are one step nearer."""
    import torch

    new, scales = prepared.new, prepared.scales[:, None, None]
    index = next(i for i in range(len(new)) if held.equal(read(prepared, i)))
    exact = (
        (new[index][:, : len(held)].float() / scales.view(2, 1, 1, 1)).transpose(0, 1).flatten(1)
    )
    numbers = held.view(prepared.kv_dtype).float()
    up = (numbers.abs() > exact.abs()) & (numbers != 0)
    return held - up.to(torch.uint8)


def with_scales(change: "Callable[[torch.Tensor], torch.Tensor]") -> Change:
    """Tokens quantised with other scales: `change` has those of keys and values, fp32 [2]."""

    def stored(prepared: Any, held: "torch.Tensor") -> "torch.Tensor":
        import torch

        right = prepared.scales[:, None, None]
        numbers = (
            held.view(prepared.kv_dtype).float().unflatten(1, (2, prepared.shape.num_kv_heads, -1))
        )
        scales = change(prepared.scales)[:, None, None]
        return quantise(numbers * right, scales, prepared.kv_dtype).view(torch.uint8).flatten(1)

    return stored


def bf16_through_fp8(prepared: Any, held: "torch.Tensor") -> "torch.Tensor":
    """Elements lose the bits that e4m3 does not have."""
    import torch

    if prepared.dtype.itemsize != 2:
        return held
    values = held.view(prepared.dtype).float()
    return values.to(torch.float8_e4m3fn).to(prepared.dtype).view(torch.uint8)


def stray(page: int) -> Plant:
    """A kernel that also writes to the last slot of a page, which no token is sent to.

    `page` 0 is in front of the cache, -1 its last, where a slot of -1 ends up by Python's rules.
    """

    def plant(planting: Planting) -> Prepared | None:
        honest = planting.prepared
        if not isinstance(honest, CacheWrite):
            return None

        def call(index: int) -> None:
            honest.calls[index]()
            honest.pool.by_slot[page, -1] = 0

        return planting.mutant(call=call)

    return plant


def kept(planting: Planting) -> Prepared | None:
    """Each set computes once and copies what it stored when called again."""
    honest = planting.prepared
    if not isinstance(honest, CacheWrite):
        return None
    held: dict[int, torch.Tensor] = {}

    def call(index: int) -> None:
        if index not in held:
            honest.calls[index]()
            held[index] = read(honest, index)
        else:
            write(honest, index, held[index])

    return planting.mutant(call=call)


def _where_to(prepared: CacheWrite) -> "list[torch.Tensor]":
    """All that a call may read to find the slots."""
    requests = prepared.requests
    of_requests = (requests.positions, requests.pages, requests.last_lengths) if requests else ()
    return [prepared.slots.mapping, *(each for sets in of_requests for each in sets)]


def old_slots(planting: Planting) -> Prepared | None:
    """The slots of the first call are written for ever."""
    import torch

    honest = planting.prepared
    if not isinstance(honest, CacheWrite):
        return None
    places = _where_to(honest)
    first = [each.clone() for each in places]

    def call(index: int) -> None:
        now = [each.clone() for each in places]
        torch._foreach_copy_(places, first)
        honest.calls[index]()
        torch._foreach_copy_(places, now)

    return planting.mutant(call=call)


WRITE_FAULTS = (
    Fault("last token not written", stored_as(lose_last)),
    Fault("a token in the middle not written", stored_as(lose_middle)),
    Fault("last bytes of each token not written", stored_as(lose_end)),
    Fault("data of the next token", stored_as(next_token)),
    Fault("two tokens exchanged", stored_as(swap_tokens)),
    Fault("keys and values exchanged", stored_as(swap_halves)),
    Fault("heads turned by one", stored_as(swap_heads)),
    Fault("one bit wrong in each token", stored_as(wrong_bit), over_bf16),
    Fault("written through fp8", stored_as(bf16_through_fp8), over_bf16),
    Fault("scales exchanged", stored_as(with_scales(lambda scales: scales.flip(0))), over_fp8),
    Fault("scales ignored", stored_as(with_scales(lambda scales: scales * 0 + 1)), over_fp8),
    Fault("scales 5 % too large", stored_as(with_scales(lambda scales: scales * 1.05)), over_fp8),
    Fault("truncated, not rounded", stored_as(truncated), over_fp8),
    Fault("slot of -1 written at the end", stray(-1)),
    Fault("slot of -1 written in front", stray(0)),
    Fault("data kept from the first call", kept),
    Fault("slots kept from the first call", old_slots),
)
