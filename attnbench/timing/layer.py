"""Calls with a decoder layer's products between them, as in a server, and the clock for them.

In a graph of nothing but calls a kernel's code stays in the caches, and a call may begin before the
one before has ended. Where a layer's weights pass between two calls, neither is so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Self

from attnbench.specs.case import Case
from attnbench.specs.dtypes import TORCH_NAMES
from attnbench.specs.layer import layer_products, w_uk_product
from attnbench.stats.median import median_interval
from attnbench.timing.clock import CallClock
from attnbench.timing.cuda import GraphClock
from attnbench.timing.marks import KERNEL, Marks
from attnbench.timing.sm_clock import SmClock

Call = Callable[[], object]
EMPTY_CALLS, EMPTY_SAMPLES = 8, 20  # enough for a tenth of a microsecond
EMPTY_ALONE = 256  # of 0.7 us each: the events' half microsecond is small beside them


class NoTime(Exception):
    """What a call takes is not shown to be more than nothing."""


@dataclass
class LayerClock(CallClock):
    """A graph of products and calls in turn, with a mark by the GPU's timer around each call.

    A sample is the mean time from mark to mark, less `overhead`: what two marks around an empty
    kernel show beyond that kernel. So it holds the call alone, whatever the products take, and no
    launching, which is done before the products are.
    """

    graph: GraphClock
    marks: Marks
    overhead: float  # seconds
    nodes_before: int  # of a call: those of the products and the first mark
    calls_per_sample: int = field(init=False)

    def __post_init__(self) -> None:
        self.calls_per_sample = self.graph.calls_per_sample

    @classmethod
    def of(
        cls, calls: Sequence[Call], products: Call, device: str, sm_clock: SmClock | None
    ) -> Self:
        """The clock of calls that rotate over all sets; the stamps are those of their graph."""
        overhead, nodes = _around_nothing(products, device)
        marks = Marks(device)
        turns = [_in_turn(products, marks.around(call)) for call in calls]
        return cls(GraphClock(turns, device, sm_clock), marks, overhead, nodes)

    def sample(self) -> float:
        """Seconds of a call behind the products."""
        self.graph.sample()
        return self.last() - self.overhead

    def last(self) -> float:
        """Seconds from mark to mark in the last replay, which is waited for."""
        return self.marks.seconds(self.calls_per_sample)

    def launch_again(self, sets: int) -> None:
        """Enqueue the graph of all sets."""
        self.graph.launch_again(sets)

    def require_time(self, samples: Sequence[float]) -> None:
        """Raise NoTime unless the 95 % interval of the samples' median is above 0 seconds."""
        low, high = median_interval(samples)
        if low <= 0:
            raise NoTime(
                f"a call takes {median(samples) * 1e6:.3g} us (95 % interval {low * 1e6:.3g} to "
                f"{high * 1e6:.3g}) behind a layer, too little to be told from nothing; "
                "--between nothing times calls back to back"
            )

    @property
    def facts(self) -> dict[str, float]:
        """What was taken off each sample for the marks, s."""
        return {"marks_seconds": self.overhead}

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of a call's kernels, without those of the products and the marks."""
        names = self.graph.kernels_after(self.nodes_before)
        return tuple(name for name in names if name != KERNEL)


def _around_nothing(products: Call, device: str) -> tuple[float, int]:
    """Seconds that marks add to an empty kernel behind products; nodes in front of that kernel."""
    marks = Marks(device)
    turn = _in_turn(products, marks.around(empty))
    graph, samples = GraphClock([turn], device, calls_per_sample=EMPTY_CALLS), list[float]()
    for _ in range(EMPTY_SAMPLES):
        graph.sample()
        samples.append(marks.seconds(EMPTY_CALLS))
    return median(samples) - empty_seconds(device), max(0, graph.nodes_per_call - 2)


def empty_seconds(device: str) -> float:
    """Seconds of an empty kernel in a graph of such kernels.

    Not kept: within one process it was 0.71 us around most cases and 0.54 around one, whose marks
    were closer together too.
    """
    clock = GraphClock([empty], device, calls_per_sample=EMPTY_ALONE)
    return median([clock.sample() for _ in range(2 * EMPTY_SAMPLES)][EMPTY_SAMPLES:])


def empty() -> None:
    """Launch a kernel that does nothing."""
    import torch

    torch.cuda._sleep(0)


def products_of(case: Case, device: str, *, w_uk: bool = True) -> Call:
    """The layer's products for the batch's new tokens, over random weights of the case's dtype.

    Without `w_uk` the product with W_UK is left out. Nothing is allocated while they run.
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
    absorbing = [normal(*size) for size in w_uk_product(case)] if w_uk else []

    def run() -> None:
        for values, weights, out in operands:
            torch.mm(values, weights.T, out=out)
        if absorbing:
            queries, up, latent = absorbing
            torch.bmm(queries, up, out=latent)

    return run


def _in_turn(products: Call, call: Call) -> Call:
    def run() -> None:
        products()
        call()

    return run
