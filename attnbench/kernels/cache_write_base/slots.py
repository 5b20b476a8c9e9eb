"""The cache slots that the tokens of each working set go to.

A slot is page * block size + offset, as in vLLM. No two tokens share a slot, within or across sets.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnbench.kernels.base import Refused
from attnbench.kernels.inputs import ordered

if TYPE_CHECKING:
    import torch

# Rows behind a call's tokens with slot -1, as if a CUDA graph were larger than its batch.
PADDING = 2
SPARE_PAGES = 8  # minimum number beyond those the sets need


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of the tokens, by set."""

    mapping: "torch.Tensor"  # int64 [sets, tokens + PADDING], -1 behind the tokens
    pages: "torch.Tensor"  # int64 [sets, tokens]
    offsets: "torch.Tensor"  # int64 [sets, tokens], within the page

    def overwrite(self, others: "Slots") -> None:
        """Take these slots in place; each set gets those of its neighbour, if equally drawn."""
        for name in ("mapping", "pages", "offsets"):
            getattr(self, name).copy_(getattr(others, name).roll(1, 0))


def draw_slots(
    num_pages: int,
    block_size: int,
    sizes: tuple[int, int],
    page_order: str,
    generator: "torch.Generator",
) -> Slots:
    """Slots for `sizes` (sets, tokens) in that many pages: random, or one stretch per set.

    The last slot is given to no token: a token sent to -1 by mistake would land there.
    """
    import torch

    sets, tokens = sizes
    order = ordered(num_pages * block_size - 1, page_order, generator)
    chosen = order[: sets * tokens].view(sets, tokens)
    padding = chosen.new_full((sets, PADDING), -1)
    return Slots(torch.cat([chosen, padding], 1), chosen // block_size, chosen % block_size)


def pages_for(sizes: tuple[int, int], block_size: int, page_bytes: int, l2_bytes: int) -> int:
    """The pages of a cache for `sizes` (sets, tokens), where none are asked for.

    It is at least four times the L2, so neighbouring slots are far apart in it.
    """
    needed = _needed(sizes, block_size) + SPARE_PAGES
    return max(needed, -(-4 * l2_bytes // page_bytes))


def check_pages(asked: int, sizes: tuple[int, int], block_size: int) -> None:
    """Raises Refused if so many pages are too few for `sizes` (sets, tokens)."""
    (sets, tokens), needed = sizes, _needed(sizes, block_size)
    if asked < needed:
        raise Refused(
            f"--num-blocks {asked} of {block_size} tokens are too few for {sets} sets of {tokens} "
            f"tokens: at least {needed} are needed" + ", or fewer sets by --num-layers" * (sets > 1)
        )


def _needed(sizes: tuple[int, int], block_size: int) -> int:
    sets, tokens = sizes
    return -(-(sets * tokens + 1) // block_size)
