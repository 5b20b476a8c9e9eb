"""Calls with a decoder layer's products between them, as in a server, and the clock for them.

In a graph of nothing but calls a kernel's code stays in the caches, and a call may begin before the
one before has ended. Where a layer's weights pass between two calls, neither is so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Self

from attnbench.labels import Label
from attnbench.specs.case import Case
from attnbench.specs.dtypes import TORCH_NAMES
from attnbench.specs.layer import layer_products
from attnbench.stats.median import median_interval
from attnbench.timing.cuda import GraphClock
from attnbench.timing.sm_clock import SmClock

Call = Callable[[], object]


@dataclass(slots=True)
class LayerClock:
    """A graph of products and calls in turn, less a graph of as many products alone.

    A sample is the difference of two replays, one right after the other, so the spread of samples
    is that of the difference.
    """

    both: GraphClock
    alone: GraphClock
    calls_per_sample: int = field(init=False)

    def __post_init__(self) -> None:
        self.calls_per_sample = self.both.calls_per_sample

    @classmethod
    def of(
        cls, calls: Sequence[Call], products: Call, device: str, sm_clock: SmClock | None
    ) -> Self:
        """The clock of calls that rotate over all sets; the stamps are those of their graph."""
        both = GraphClock([_in_turn(products, call) for call in calls], device, sm_clock)
        return cls(both, GraphClock([products], device, calls_per_sample=both.calls_per_sample))

    def sample(self) -> float:
        """Seconds that a call adds to the products before it."""
        return self.both.sample() - self.alone.sample()

    def replay(self) -> None:
        """Enqueue the graph of the calls once."""
        self.both.replay()

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of a call's kernels, without those of the products."""
        return self.both.kernels_after(self.alone.nodes_per_call)

    @property
    def labels(self) -> tuple[Label, ...]:
        """Caveats of either graph: what lengthens the products alone shortens the difference."""
        return tuple(dict.fromkeys((*self.both.labels, *self.alone.labels)))


class NothingAdded(Exception):
    """What calls add to the products between them is not shown to be more than nothing."""


def require_added(samples: Sequence[float]) -> None:
    """Raise NothingAdded unless the 95 % interval of the samples' median is above 0 seconds."""
    low, high = median_interval(samples)
    if low <= 0:
        raise NothingAdded(
            f"a call adds {median(samples) * 1e6:.3g} us (95 % interval {low * 1e6:.3g} to "
            f"{high * 1e6:.3g}) to the layer between calls, too little to be told from nothing; "
            "--between nothing times calls back to back"
        )


def products_of(case: Case, device: str) -> Call:
    """The layer's products for the batch's new tokens, over random weights of the case's dtype.

    Nothing is allocated while they run.
    """
    import torch

    generator = torch.Generator(device).manual_seed(0)
    dtype, rows = getattr(torch, TORCH_NAMES[case.dtype]), case.batch.num_tokens

    def normal(*size: int) -> "torch.Tensor":
        return torch.randn(size, device=device, dtype=dtype, generator=generator)

    operands = [
        (normal(rows, inputs), normal(outputs, inputs).mul_(inputs**-0.5), normal(rows, outputs))
        for inputs, outputs in layer_products(case.shape)
    ]

    def run() -> None:
        for values, weights, out in operands:
            torch.mm(values, weights.T, out=out)

    return run


def _in_turn(products: Call, call: Call) -> Call:
    def run() -> None:
        products()
        call()

    return run
