"""The pages of a cache as raw bytes, which reveal writes to memory outside the expected slots."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CANARY = 0x3A  # every byte of the pool before the first write
POISON = 0xFF  # every byte of a slot still to be written: NaN in every dtype of a cache
STEP_BYTES = 2**28  # scanned per step, to bound the scan's memory


class Pool:
    """Pages of bytes, uint8 [num_pages, *page]; dimension `slot_axis` of a page counts its slots.

    One page that no slot refers to stands in front of them, to catch writes before the cache.
    """

    def __init__(self, num_pages: int, page: tuple[int, ...], slot_axis: int, device: str) -> None:
        import torch

        guarded = torch.full((1 + num_pages, *page), CANARY, dtype=torch.uint8, device=device)
        self.pages = guarded[1:]
        # The same by slot, [1 + num_pages, slots, ...], in words, which compare faster.
        words = guarded.view(torch.int64) if page[-1] % 8 == 0 else guarded
        self.by_slot = words.movedim(1 + slot_axis, 1)

    def poison(self, pages: "torch.Tensor", offsets: "torch.Tensor") -> None:
        """Fill these slots, both int64 [n], with NaN."""
        self.by_slot[1:][pages, offsets] = self._word(POISON)

    def release(self, pages: "torch.Tensor", offsets: "torch.Tensor") -> None:
        """Make these slots, both int64 [n], ones that no token is sent to."""
        self.by_slot[1:][pages, offsets] = self._word(CANARY)

    def clear(self) -> None:
        """Make every byte the canary again."""
        self.by_slot.fill_(self._word(CANARY))

    def stray(self, pages: "torch.Tensor", offsets: "torch.Tensor") -> str | None:
        """A sentence on a write outside these slots, both int64 [n], None if there was none."""
        import torch

        untouched = self._word(CANARY)
        step = max(1, STEP_BYTES // self.pages[0].nbytes)
        inner = tuple(range(2, self.by_slot.ndim))
        intact = torch.cat(
            [(part == untouched).all(dim=inner) for part in self.by_slot.split(step)]
        )  # [1 + num_pages, slots]
        intact[1:][pages, offsets] = True
        if bool(intact.all()):
            return None
        page, offset = (~intact).nonzero()[0].tolist()
        if page == 0:
            return "memory in front of the cache was written"
        slot = (page - 1) * intact.shape[1] + offset
        return f"slot {slot} was written though no token was sent there"

    def _word(self, byte: int) -> int:
        size = self.by_slot.element_size()
        return int.from_bytes(bytes([byte] * size), "little", signed=size > 1)
