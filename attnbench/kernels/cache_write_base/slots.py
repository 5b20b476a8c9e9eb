"""Which slots of the cache the tokens of each working set go to.

A slot is page * block size + offset, as in vLLM. No two tokens share one, in any set.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnbench.kernels.base import Refused
from attnbench.kernels.inputs import ordered

if TYPE_CHECKING:
    import torch

# Rows behind the tokens of a call whose slot is -1, as where a CUDA graph is larger than its batch.
PADDING = 2
SPARE_PAGES = 8  # more than the sets need, at least


@dataclass(frozen=True, slots=True)
class Slots:
    """Where tokens go, by set."""

    mapping: "torch.Tensor"  # int64 [sets, tokens + PADDING], -1 behind the tokens
    pages: "torch.Tensor"  # int64 [sets, tokens]
    offsets: "torch.Tensor"  # int64 [sets, tokens], within the page


def draw_slots(
    num_pages: int,
    block_size: int,
    sizes: tuple[int, int],
    page_order: str,
    generator: "torch.Generator",
) -> Slots:
    """Slots of `sizes` (sets, tokens) among so many pages: random ones, or a stretch for each set.

    The last slot is given to nobody: a token sent to -1 by mistake would land there.
    """
    import torch

    sets, tokens = sizes
    order = ordered(num_pages * block_size - 1, page_order, generator)
    chosen = order[: sets * tokens].view(sets, tokens)
    padding = chosen.new_full((sets, PADDING), -1)
    return Slots(torch.cat([chosen, padding], 1), chosen // block_size, chosen % block_size)


def pages_for(
    sizes: tuple[int, int], block_size: int, page_bytes: int, asked: int | None, device: str
) -> int:
    """Pages of a cache for `sizes` (sets, tokens): as asked for, else what is needed.

    On a GPU at least four times its L2, so that neighbouring slots are far apart in it. Raises
    Refused if what was asked for is too few.
    """
    sets, tokens = sizes
    needed = -(-(sets * tokens + 1) // block_size)
    if asked is None:
        return max(needed + SPARE_PAGES, -(-4 * _l2_bytes(device) // page_bytes))
    if asked < needed:
        raise Refused(
            f"--num-blocks {asked} of {block_size} tokens is too few for {sets} sets of {tokens} "
            f"tokens: {needed} or more are needed, or fewer sets by --num-layers"
        )
    return asked


def _l2_bytes(device: str) -> int:
    if device == "cpu":
        return 0
    import torch

    return int(torch.cuda.get_device_properties(device).L2_cache_size)
