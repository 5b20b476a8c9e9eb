"""How a case is timed. Unlike methods never compare silently, so a method has a hash."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, NewType, Self

from attnbench.specs.case import Value, content_hash

# By timer, 1 by default: raised when the same options come to mean another way of timing, or data
# that may change a GPU's power. 2: workers use many streams first. 3: random data contain needles.
METHOD_VERSIONS = {"cudagraph": 3, "eager": 3, "kernel": 3}
# Of a call behind a layer, likewise. 1, in facts without it: what the call adds to the layer;
# 2: from a mark by the GPU's timer before it to one behind it; 3, of decodes of MLA at scope kernel
# alone: with W_UK's product in the layer.
LAYER_VERSION, WITH_W_UK = 2, 3
VERSIONS = ("version", "layer_version")  # facts that no option sets

Timer = Literal["cpu", "cudagraph", "eager", "kernel"]
ForeignTimer = NewType("ForeignTimer", str)  # of another tool, whose times are imported
CacheAsked = Literal["cold", "hot", "unknown"]
Regime = Literal["auto", "burst", "sustained"]
Isolation = Literal["none", "rounds"]
Between = Literal["auto", "nothing", "layer"]


def layer_version(facts: Mapping[str, Value]) -> Value | None:
    """The version by which calls behind a layer were timed; None if nothing was between them."""
    return facts.get("layer_version", 1) if "between" in facts else None


def without_layer(facts: Mapping[str, Value]) -> dict[str, Value]:
    """The facts of a method, but for those that say what stands between calls."""
    return {n: v for n, v in facts.items() if n not in ("between", "layer_version")}


@dataclass(frozen=True, slots=True)
class Method:
    """The timer, the cache state asked for, and when to stop.

    The number of working sets is not part of it: it follows from the cache state and the device.
    """

    timer: Timer | ForeignTimer
    cache: CacheAsked = "cold"  # as asked for; the row has the state reached
    samples: int | None = None  # exactly this many per round, without the stopping rule
    warmup_calls: int | None = None  # at least this many calls
    half_width: float = 0.0025  # of the median's 95 % interval, relative: enough
    min_samples: int = 20
    max_samples: int = 1000
    time_budget: float = 1.0  # seconds of sampling in a round
    # sustained: a second of load before the warm-up; auto: if a workload can need it.
    regime: Regime = "burst"
    isolate: Isolation = "none"  # rounds: a fresh worker process for each round
    eager_fallback: bool = False  # time single launches if a graph cannot be captured
    # layer: a decoder layer's products stand between the calls of a graph, and are in no time;
    # auto, of a plan alone: so for decodes.
    between: Between = "nothing"
    layer_version: int = LAYER_VERSION  # of what stands between; of a plan, where a case has W_UK

    def as_facts(self) -> dict[str, Value]:
        """The hashed facts by name; defaults are omitted, so a new field keeps old hashes.

        If a default changes its meaning, raise METHOD_VERSIONS of its timer, or LAYER_VERSION.
        """
        chosen: dict[str, Value] = {
            "timer": self.timer,
            "cache": self.cache,
            "version": METHOD_VERSIONS.get(self.timer, 1),
        }
        usual = Method(self.timer)
        others = {name: v for name, v in asdict(self).items() if v != getattr(usual, name)}
        others.pop("layer_version", None)
        layer = {} if self.between == "nothing" else {"layer_version": self.layer_version}
        return chosen | others | layer

    @classmethod
    def from_facts(cls, facts: dict[str, Value]) -> Self:
        """The inverse of `as_facts`, for a method of any version that is still measured."""
        asked = {name: v for name, v in facts.items() if name not in VERSIONS}
        if facts.get("layer_version") == WITH_W_UK:
            asked["layer_version"] = WITH_W_UK
        return cls(**asked)  # type: ignore[arg-type]

    @property
    def traces(self) -> bool:
        """Whether CUPTI records: from then on the process begins graphs while they are launched."""
        return self.timer == "kernel"

    @property
    def key(self) -> str:
        """The hash of everything that makes two times comparable."""
        return content_hash(self.as_facts())
