"""How a study's answer is found: one of seven analyses with its settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from attnbench.studies.traffic import TrafficAnalysis, read_traffic
from attnbench.studies.yaml_entry import Entry


@dataclass(frozen=True, slots=True)
class CrossoverAnalysis:
    """From which length on the prefill path beats the decode path, which a threshold chooses."""

    resolution: float = 1.1  # no further bisection between neighbours within this ratio


@dataclass(frozen=True, slots=True)
class OptimumAnalysis:
    """The best value of a knob for each workload, against the backend's own choice."""

    knob: str
    by: str = "batch_size"  # the axis a rule for the knob may depend on


@dataclass(frozen=True, slots=True)
class ContrastAnalysis:
    """Cases that differ in one field, the second value of each pair against the first."""

    field: str
    pairs: tuple[tuple[str, str], ...]
    by: tuple[str, ...] = ()  # fields with a line per value
    tune: tuple[str, ...] = ()  # knobs of which each side takes its best value


@dataclass(frozen=True, slots=True)
class WinnerAnalysis:
    """The best implementation of each workload, with ties."""

    tune: tuple[str, ...] = ()
    map: tuple[str, str] = ("batch_size", "kv_len")  # rows and columns of the heat map


@dataclass(frozen=True, slots=True)
class RaggedAnalysis:
    """The cost of requests of different lengths, against equal ones with the same total."""


@dataclass(frozen=True, slots=True)
class GrowthAnalysis:
    """How time grows with a length, and the time of all layers of a model."""

    over: str = "q_len"
    layers: int = 1


Analysis = (
    CrossoverAnalysis
    | OptimumAnalysis
    | ContrastAnalysis
    | WinnerAnalysis
    | RaggedAnalysis
    | GrowthAnalysis
    | TrafficAnalysis
)


def read_analysis(entry: Entry) -> Analysis:
    """The analysis of an entry, by its name; UsageError for any other content."""
    found = entry.mapping(_READERS)
    if len(found) != 1:
        entry.fail(f"expected one of {', '.join(_READERS)}, read {len(found)} of them")
    ((kind, under),) = found.items()
    return _READERS[kind](under)


def _crossover(entry: Entry) -> Analysis:
    keys = entry.mapping(["resolution"])
    if "resolution" not in keys:
        return CrossoverAnalysis()
    value = keys["resolution"].value()
    if not isinstance(value, float) or value <= 1:
        keys["resolution"].fail("expected a ratio over 1, e.g. 1.1")
    return CrossoverAnalysis(value)


def _optimum(entry: Entry) -> Analysis:
    keys = entry.mapping(["knob", "by"])
    if "knob" not in keys:
        entry.fail("the key knob is missing")
    return OptimumAnalysis(**{name: under.text() for name, under in keys.items()})


def _contrast(entry: Entry) -> Analysis:
    keys = entry.mapping(["field", "pairs", "by", "tune"])
    for needed in ("field", "pairs"):
        if needed not in keys:
            entry.fail(f"the key {needed} is missing")
    return ContrastAnalysis(
        field=keys["field"].text(),
        pairs=tuple(_two(pair) for pair in keys["pairs"].items()),
        by=_texts(keys, "by"),
        tune=_texts(keys, "tune"),
    )


def _winner(entry: Entry) -> Analysis:
    keys = entry.mapping(["tune", "map"])
    plain = WinnerAnalysis(tune=_texts(keys, "tune"))
    return WinnerAnalysis(plain.tune, _two(keys["map"])) if "map" in keys else plain


def _ragged(entry: Entry) -> Analysis:
    entry.mapping([])
    return RaggedAnalysis()


def _growth(entry: Entry) -> Analysis:
    keys = entry.mapping(["over", "layers"])
    layers = keys["layers"].value() if "layers" in keys else 1
    if not isinstance(layers, int) or layers < 1:
        keys["layers"].fail("expected a whole number from 1, e.g. 32")
    return GrowthAnalysis(keys["over"].text() if "over" in keys else "q_len", layers)


def _two(entry: Entry) -> tuple[str, str]:
    texts = entry.texts()
    if len(texts) != 2:
        entry.fail(f"expected two values, e.g. [NHD, HND], read {len(texts)}")
    return texts[0], texts[1]


def _texts(keys: Mapping[str, Entry], name: str) -> tuple[str, ...]:
    return keys[name].texts() if name in keys else ()


_READERS: Mapping[str, Callable[[Entry], Analysis]] = {
    "crossover": _crossover,
    "optimum": _optimum,
    "contrast": _contrast,
    "winner": _winner,
    "ragged": _ragged,
    "growth": _growth,
    "traffic": read_traffic,
}
