"""Comparing cases across one field of them, or of their method: equal in all others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attnbench.analysis.series import Series
from attnbench.errors import UsageError
from attnbench.families import family_of
from attnbench.meant import meant
from attnbench.options.option import table
from attnbench.shorten import few
from attnbench.specs.case import Case, Value, content_hash, value_text
from attnbench.timing.method import without_layer

UNSET = "unset"  # text for a field that a case leaves open

# Knobs of a server that not every backend has.
SERVER_KNOBS = ("decode_kernel", "max_model_len", "mixed_windows")

# Fields that follow from another and need not be equal, each step only for those left without a
# partner. A backend may be the dense or the sparse one of a pair.
FOLLOWING: Mapping[str, Sequence[tuple[str, ...]]] = {
    "backend": (("layout", "block_size", *SERVER_KNOBS), ("index_topk", "topk_pattern")),
    "query_dtype": (("kv_cache_dtype",),),
}

BETWEEN = "between"  # the only field of a method that may differ: the same kernel is timed

_SHOWN = 6  # values or fields in a message


@dataclass(frozen=True, slots=True)
class Across:
    """A field of cases, or `between` of their methods, and the two values to compare."""

    field: str
    base: Value | None  # None if a case leaves it open
    head: Value | None

    @property
    def of_method(self) -> bool:
        """Whether it is the method that differs, and the case that is the same."""
        return self.field == BETWEEN

    def __str__(self) -> str:
        return f"{self.field} {field_text(self.base)} -> {field_text(self.head)}"


def following(field: str) -> set[str]:
    """The fields that may differ too between cases that are compared across a field."""
    return {name for names in FOLLOWING.get(field, ()) for name in names}


def same_server(base: Case, head: Case, field: str) -> bool:
    """Whether a server's knobs, except the field, are equal in all that both cases have."""
    names = (name for name in SERVER_KNOBS if name != field)
    pairs = ((base.knob(name), head.knob(name)) for name in names)
    return all(None in pair or pair[0] == pair[1] for pair in pairs)


def field_of(series: Series, field: str) -> Value | None:
    """A field of a series' case, None if open; `between` as it was timed."""
    if field != BETWEEN:
        return series.case.fields().get(field)
    return series.resolved.get(BETWEEN, series.first.method.get(BETWEEN, "nothing"))


def method_but(series: Series, field: str) -> str:
    """The key of a series' method, without what stands between calls if the field is that."""
    if field != BETWEEN:
        return series.first.method_key
    return content_hash(without_layer(series.first.method))


def field_text(value: Value | None) -> str:
    """A field's value as text."""
    return value_text(value, UNSET)


def find_across(text: str, base: Sequence[Series], head: Sequence[Series]) -> Across:
    """The meaning of "FIELD" or "FIELD=BASE:HEAD" between these series, at least one per side.

    A field without values must have only one choice of two. UsageError lists the values.
    """
    field, equals, asked = text.partition("=")
    before, after = _values(field, base), _values(field, head)
    if {*before, *after} == {None}:
        of_cases = dict.fromkeys(name for each in (*base, *head) for name in _fields(each.case))
        raise UsageError(
            f"--across {field}: no case has such a field{meant(field, [*of_cases, BETWEEN])}; "
            f"accepted are {', '.join([*of_cases, BETWEEN])}, e.g. --across backend"
        )
    if equals:
        values = asked.partition(":")
        return Across(field, _chosen(text, values[0], before), _chosen(text, values[2], after))
    choices = [(old, new) for old in before for new in after if old != new]
    if len({frozenset(each) for each in choices}) == 1:
        return Across(field, *choices[0])
    if not choices:
        raise UsageError(
            f"--across {field}: it is {_listed(before)} in all cases; name runs that differ in it "
            "or another field, or measure a second value too"
        )
    there = f"base has {_listed(before)} and head has {_listed(after)}"
    old, new = choices[0]
    raise UsageError(
        f"--across {field}: {there}; say which two, e.g. "
        f"--across {field}={field_text(old)}:{field_text(new)}"
    )


def _fields(case: Case) -> list[str]:
    """The fields that its family's command asks for, or that are not at their default."""
    own, asked = case.canonical(), table(family_of(case).options)
    return [n for n, v in case.fields().items() if v is not None and (n in own or n in asked)]


def _values(field: str, listed: Sequence[Series]) -> list[Value | None]:
    return list(dict.fromkeys(field_of(each, field) for each in listed))


def _chosen(text: str, name: str, values: Sequence[Value | None]) -> Value | None:
    for value in values:
        if field_text(value).lower() == name.lower():
            return value
    raise UsageError(
        f"--across {text}: its side does not have '{name}' but {_listed(values)}; expected "
        "FIELD=BASE:HEAD, e.g. --across backend=sdpa:naive"
    )


def _listed(values: Sequence[Value | None]) -> str:
    return few([field_text(value) for value in values], _SHOWN)
