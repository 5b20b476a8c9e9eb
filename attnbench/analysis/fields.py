"""The fields that distinguish the rows of a table, and those they share."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attnbench.analysis.ragged import shape_of
from attnbench.analysis.series import Series
from attnbench.families import family_of
from attnbench.specs.batch import Batch
from attnbench.specs.case import Case, Value, value_text
from attnbench.timing.method import LAYER_VERSION, Method, layer_version
from attnbench.units import counted

MOST_LENGTHS = 6  # different requests that are listed in full
_ELSEWHERE = ("family", "batch")  # have their own place in every table


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields in which cases differ, and the values of the others."""

    varying: tuple[str, ...]
    constant: Mapping[str, Value]  # without the scope's version and fields at their default

    @classmethod
    def of(cls, cases: Sequence[Case]) -> "Fields":
        """A field varies if cases have two values, or only some cases of one backend have it.

        A field that another backend lacks is not a difference.
        """
        asked = [requested(case) for case in cases]
        names = dict.fromkeys(name for fields in asked for name in fields)
        varying = tuple(name for name in names if _varies(name, asked))
        constant = {
            name: value
            for own, fields in zip((case.canonical() for case in cases), asked, strict=True)
            for name, value in fields.items()
            if name not in (*varying, "scope_version") and (name in own or name == "quant")
        }
        return cls(varying, constant)

    def describe(self, case: Case) -> str:
        """A short name of one case, e.g. "sdpa q512, threshold 4"."""
        asked = requested(case)
        others = [f"{n} {asked[n]}" for n in self.varying if n in asked and n != "backend"]
        return ", ".join([f"{case.backend} {batch_text(case)}", *others])


def batch_text(case: Case) -> str:
    """The batch as text: for a cache write only the number of tokens."""
    if not family_of(case).counts_tokens:
        return spec(case.batch)
    count = case.batch.num_tokens
    return counted(count, "token")


def spec(batch: Batch) -> str:
    """The canonical spec, or that of ragged lengths; else the requests' number and the longest."""
    if (known := shape_of(batch)) and known[1]:
        return known[0].spec(known[1])
    if len(batch.groups()) <= MOST_LENGTHS:
        return str(batch)
    longest = max(batch, key=lambda request: (request.kv_len, request.q_len))
    return f"{len(batch)} up to {longest}"


def requested(case: Case) -> dict[str, Value]:
    """The fields of a case by flat name, without batch, family and those left open."""
    return {name: value for name, value in named_fields(case).items() if name not in _ELSEWHERE}


def named_fields(case: Case) -> dict[str, Value]:
    """The fields that a case does not leave open, with one name for those set together."""
    fields = {name: value for name, value in case.fields().items() if value is not None}
    return family_of(case).named(case, fields)


def unasked(listed: Sequence[Series]) -> dict[str, dict[str, list[Value]]]:
    """By backend and name, all resolved values that were not asked for."""
    found: dict[str, dict[str, list[Value]]] = defaultdict(lambda: defaultdict(list))
    for series in listed:
        # A cache at auto has the case's dtype, which is not the backend's choice.
        asked = {"kv_cache_dtype", *series.case.canonical()}
        for name, value in series.resolved.items():
            values = found[series.case.backend][name]
            if name not in asked and value not in values:
                values.append(value)
    return found


def method_text(method: Mapping[str, Value]) -> str:
    """The timer and the cache state asked for, and all else that is not at its default."""
    usual = Method.from_facts({name: method[name] for name in ("timer", "cache")}).as_facts()
    others = [
        f"method {value} (now {usual[name]})" if name == "version" else f"{name} {value}"
        for name, value in method.items()
        if usual.get(name) != value and name != "layer_version"
    ]
    if (layer := layer_version(method)) not in (None, LAYER_VERSION):
        others.append(f"layer method {layer}{' (now 2 or 3)' if layer == 1 else ''}")
    return ", ".join([f"timer {method['timer']}", f"cache {method['cache']}", *others])


def setting_text(method: Mapping[str, Value], name: str) -> str:
    """What a method has asked for; facts leave out defaults."""
    return value_text(method.get(name, getattr(Method("cudagraph"), name, None)), "unset")


def _varies(name: str, asked: Sequence[Mapping[str, Value]]) -> bool:
    by_backend: dict[Value, set[Value | None]] = defaultdict(set)
    for fields in asked:
        by_backend[fields["backend"]].add(fields.get(name))
    values = set.union(*by_backend.values()) - {None}
    return len(values) > 1 or any(len(each) > 1 for each in by_backend.values())
