"""How a case is timed. Unlike methods never compare silently, so a method has a hash."""

from dataclasses import asdict, dataclass
from typing import Self

from attnbench.specs.case import Value, content_hash

# Raised when the same options come to mean another way of timing.
METHOD_VERSION = 1


@dataclass(frozen=True, slots=True)
class Method:
    """The timer, the cache state asked for, and when to stop.

    The number of working sets is in no method: it follows from the cache state and the device.
    """

    timer: str  # cpu, cudagraph, eager
    cache: str = "cold"  # cold or hot, as asked for; the row says what was reached
    samples: int | None = None  # exactly so many a round, the stopping rule off
    warmup_calls: int | None = None  # at least so many calls first
    half_width: float = 0.0025  # of the median's 95 % interval, relative: enough
    min_samples: int = 20
    max_samples: int = 1000
    time_budget: float = 1.0  # seconds of sampling in a round
    isolate: str = "none"  # rounds: a fresh worker process for each round

    def as_facts(self) -> dict[str, Value]:
        """All that the hash covers, by name; what was left to the default policy is omitted."""
        facts = {name: value for name, value in asdict(self).items() if value is not None}
        return facts | {"version": METHOD_VERSION}

    @classmethod
    def from_facts(cls, facts: dict[str, Value]) -> Self:
        """The inverse of `as_facts`, for a method of any version."""
        return cls(**{name: v for name, v in facts.items() if name != "version"})  # type: ignore[arg-type]

    @property
    def key(self) -> str:
        """The hash of everything that makes two times comparable."""
        return content_hash(self.as_facts())
