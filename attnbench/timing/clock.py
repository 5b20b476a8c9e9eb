"""The clock of prepared calls, and what some kinds of clocks know of them beside their time."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from attnbench.labels import Label


class CallClock(ABC):
    """Times calls that rotate over the working sets."""

    calls_per_sample: int

    @abstractmethod
    def sample(self) -> float:
        """Seconds per call of the next sample."""

    @abstractmethod
    def launch_again(self, sets: int) -> None:
        """Launch at least the first `sets` again by what was timed: a graph, or single calls."""

    def last(self) -> float:
        """Seconds per call of the last launch, which is waited for; 0 if it was not timed."""
        return 0.0

    def require_time(self, samples: Sequence[float]) -> None:  # noqa: B027 - few clocks object
        """Raise NoTime if the samples, s, may be nothing but an error of this clock."""

    @property
    def labels(self) -> tuple[Label, ...]:
        """Caveats of the samples."""
        return ()

    @property
    def facts(self) -> dict[str, float]:
        """How the samples were taken, by name."""
        return {}

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of a call's kernels, if they are known."""
        return ()

    def kernel_seconds(self, num_samples: int) -> float | None:
        """The median of the kernels' own time in the last samples, without gaps between them."""
        return None
