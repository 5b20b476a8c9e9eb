"""New tokens as FlashInfer's append kernels take them: by request and position, not by slot."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Requests:
    """A request of one page for each token, so position and page give its slot; all int32."""

    batch: "tuple[torch.Tensor, ...]"  # by set, [tokens]: the request of each token
    positions: "tuple[torch.Tensor, ...]"  # by set, [tokens]: within the request
    pages: "tuple[torch.Tensor, ...]"  # by set, [tokens]: of each request
    last_lengths: "tuple[torch.Tensor, ...]"  # by set, [tokens]: tokens in its last page
    indptr: "torch.Tensor"  # [tokens + 1]: where each request's pages begin

    @classmethod
    def of(cls, pages: "torch.Tensor", offsets: "torch.Tensor") -> "Requests":
        """The requests of all sets, from the tokens' pages and offsets in them [sets, tokens]."""
        import torch

        sets, tokens = pages.shape
        indptr = torch.arange(tokens + 1, dtype=torch.int32, device=pages.device)
        batch, positions = indptr[:-1].repeat(sets, 1), offsets.int()
        return cls(
            batch.unbind(),
            positions.unbind(),
            pages.int().unbind(),
            (positions + 1).unbind(),
            indptr,
        )

    def overwrite(self, pages: "torch.Tensor", offsets: "torch.Tensor") -> None:
        """Send the tokens to other pages and offsets, both [sets, tokens], in place."""
        for index, (page, offset) in enumerate(zip(pages, offsets, strict=True)):
            self.positions[index].copy_(offset)
            self.pages[index].copy_(page)
            self.last_lengths[index].copy_(offset + 1)

    @property
    def bytes_a_set(self) -> int:
        """Bytes of them that a call reads: for each token its request, position, start and page."""
        return 4 * int(self.batch[0].nbytes)
