"""An MLA backend whose two paths take times that are known: equal at 20 new tokens."""

import time
from collections.abc import Callable
from typing import ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.mla.torch_absorbed import TorchAbsorbed
from attnbench.kernels.mla.torch_paths import TorchMlaPrepared
from attnbench.specs.case import Case

TRUTH = 20


class Paced(TorchAbsorbed):
    """Right results, and no sooner than its path's time."""

    name: ClassVar = "paced"

    def prepare(self, case: Case, setting: Setting) -> TorchMlaPrepared:
        prepared = super().prepare(case, setting)
        q_len, decodes = case.batch.max_q_len, self.num_decode(case) > 0
        seconds = 2e-3 * (q_len / TRUTH) ** (2 if decodes else -1)
        prepared.calls = [_paced(call, seconds) for call in prepared.calls]
        return prepared


def _paced(call: Callable[[], object], seconds: float) -> Callable[[], object]:
    def paced() -> None:
        end = time.perf_counter() + seconds
        call()
        while time.perf_counter() < end:
            pass

    return paced
