"""Absorbed queries [tokens, heads, latent] in the forms that MLA's decode kernels take."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def joined(queries: "torch.Tensor", heads: int | None) -> "torch.Tensor":
    """In one part; with `heads`, in memory for so many."""
    return queries if heads is None else _padded(queries, heads, 1)


def in_two_parts(
    queries: "torch.Tensor", rank: int, heads: int | None
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Latent and RoPE parts, [tokens, heads, rank] and the rest; with `heads`, as W_UK leaves them.

    Its product has the heads outermost in memory.
    """
    latent, rope = queries[..., :rank], queries[..., rank:]
    if heads is None:
        return latent.contiguous(), rope.contiguous()
    return _padded(latent.transpose(0, 1), heads, 0).transpose(0, 1), _padded(rope, heads, 1)


def overwrite(held: Any, new: Any) -> None:
    """Copy a tensor, or each of a pair, into the memory that a captured call reads."""
    if isinstance(held, tuple):
        for part, fresh in zip(held, new, strict=True):
            part.copy_(fresh)
    else:
        held.copy_(new)


def _padded(part: "torch.Tensor", heads: int, dim: int) -> "torch.Tensor":
    """A copy in memory for so many heads, of which a kernel with larger tiles reads all."""
    sizes = list(part.shape)
    sizes[dim] = heads
    return part.new_zeros(sizes).resize_(part.shape).copy_(part)
