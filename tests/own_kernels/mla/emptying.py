"""An MLA backend that is right until it is timed."""

from typing import ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.mla.torch_absorbed import TorchAbsorbed
from attnbench.kernels.mla.torch_paths import TorchMlaPrepared
from attnbench.kernels.reference import rotating
from attnbench.specs.case import Case

BEFORE_TIMING = 2  # calls


class Emptying(TorchAbsorbed):
    """Then it zeroes the latents of all contexts."""

    name: ClassVar = "emptying"

    def prepare(self, case: Case, setting: Setting) -> TorchMlaPrepared:
        prepared = super().prepare(case, setting)
        right, made = prepared.calls, list[int]()
        latents = prepared.pool.stored.flatten(0, 1)

        def emptying(index: int) -> None:
            made.append(index)
            if len(made) > BEFORE_TIMING:
                new = latents[prepared.slots]
                latents.mul_(0)[prepared.slots] = new
            right[index]()

        prepared.calls = rotating(emptying, setting.sets)
        return prepared
