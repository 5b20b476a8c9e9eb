"""Where the needles of each request stand: on both sides of borders."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from attnbench.kernels.groups import Group, Lengths, groups_of
from attnbench.specs.batch import Batch

if TYPE_CHECKING:
    import torch

TILE = 128  # keys; kernels split them at its multiples
MOST_SPLITS = 32  # of which one border is drawn for each request
DRAWN = 4  # needles on both sides of that border, and of a page's


@dataclass(frozen=True, slots=True)
class Places:
    """The needles' positions in each request of a batch, in every set.

    `positions` is int64 [sets, requests, most needles]; a request has the first `counts` of a row.
    """

    positions: "torch.Tensor"
    counts: Sequence[int]

    @classmethod
    def drawn(
        cls,
        groups: Sequence[Group],
        lengths: Lengths,
        block_size: int,
        sets: int,
        generator: "torch.Generator",
    ) -> Self:
        """Fixed borders of each request, then a page's and a split's, which differ by set."""
        import torch

        device = generator.device
        fixed = [each for g in groups for each in [_fixed(g, block_size)] * g.count]
        most = max(map(len, fixed)) + DRAWN
        table = torch.tensor([[*each, *[0] * (most - len(each))] for each in fixed], device=device)
        pages, splits = zip(*(_draw(g, block_size, sets, generator) for g in groups), strict=True)
        kv_lens, at_pages = lengths.kv[:, None], torch.cat(pages, dim=1) * block_size
        at_splits = _split_borders(kv_lens, block_size, *torch.cat(splits, dim=2))
        borders = torch.cat([at_pages, at_splits], dim=2).minimum(kv_lens - 1)
        sides = torch.cat([borders, (borders - 1).clamp_min(0)], dim=2)
        columns = torch.tensor([range(len(each), len(each) + DRAWN) for each in fixed])
        columns = columns.to(device).expand_as(sides)
        positions = table.repeat(sets, 1, 1).scatter_(2, columns, sides)
        return cls(positions, [len(each) + DRAWN for each in fixed])


def _draw(
    group: Group, block_size: int, sets: int, generator: "torch.Generator"
) -> "tuple[torch.Tensor, torch.Tensor]":
    """A page of each request, int64 [sets, count, 1], and two shares for a border of splits."""
    import torch

    device, sizes = generator.device, (sets, group.count, 1)
    pages = max(1, (group.kv_len - 1) // block_size)
    drawn = torch.randint(pages, sizes, generator=generator, device=device) + 1
    return drawn, torch.rand((2, *sizes), generator=generator, device=device)


def _split_borders(
    kv_lens: "torch.Tensor", block_size: int, count: "torch.Tensor", which: "torch.Tensor"
) -> "torch.Tensor":
    """A border of equal splits, int64: `count` and `which`, in [0, 1), choose their number and it.

    A backend's own number of splits is known only after its inputs are made.
    """
    import torch

    tile = torch.where(kv_lens > 4 * TILE, TILE, block_size)
    splits, tiles = 2 + (count * (MOST_SPLITS - 1)).long(), (kv_lens - 1) // tile + 1
    size = (tiles - 1) // splits + 1
    return (1 + (which * (splits - 1)).long()) * size * tile


def most_needles(batch: Batch, block_size: int) -> int:
    """The needles of the request that has the most."""
    return max(len(_fixed(group, block_size)) for group in groups_of(batch)) + DRAWN


def _fixed(group: Group, block_size: int) -> list[int]:
    """The first key, and both sides of the half, quarters, the last page and the new tokens."""
    kv_len = group.kv_len
    tile = TILE if kv_len > 4 * TILE else block_size
    half, quarter = (-(-kv_len // (parts * tile)) * tile for parts in (2, 4))
    borders = {half, quarter, 2 * quarter, 3 * quarter, (kv_len - 1) // block_size * block_size}
    borders |= {kv_len - group.q_len} if group.q_len > 1 else set()
    inside = [border for border in borders if 0 < border < kv_len]
    return sorted({0, *inside, *(border - 1 for border in inside)})
