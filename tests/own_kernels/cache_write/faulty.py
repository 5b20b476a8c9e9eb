"""A cache write that also writes where no token was sent."""

from typing import ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.cache_write.torch_scatter import ScatterPrepared, TorchScatter
from attnbench.specs.case import Case


class Straying(TorchScatter):
    name: ClassVar = "straying"

    def prepare(self, case: Case, setting: Setting) -> ScatterPrepared:
        import torch

        prepared = super().prepare(case, setting)
        right = prepared.calls[0]
        slots = prepared.cache.shape[1] * prepared.block_size
        sent = set(prepared.slots[0].tolist())
        stray = next(slot for slot in range(slots) if slot not in sent)
        page, offset = divmod(stray, prepared.block_size)

        def straying() -> None:
            right()
            prepared.cache[0, page, offset] = torch.zeros(())

        prepared.calls = [straying]
        return prepared
