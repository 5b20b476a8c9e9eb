"""Cases that are equal in all fields but one."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields

from attnbench.errors import UsageError
from attnbench.specs.case import Case, Value

UNSET = "unset"  # how the value of a field that a case leaves open is written

# Defaults that say something: None is how a case leaves a field open.
_DEFAULTS = {f.name: f.default for f in fields(Case) if isinstance(f.default, str)}
_SHOWN = 6  # values or fields in a message


@dataclass(frozen=True, slots=True)
class Across:
    """A field of cases, and which of its values is compared with which."""

    field: str
    base: Value | None  # None where a case leaves it open
    head: Value | None

    def __str__(self) -> str:
        return f"{self.field} {told(self.base)} -> {told(self.head)}"


def field_of(case: Case, name: str) -> Value | None:
    """The value asked for, a knob's included; None where the case leaves it open."""
    return case.canonical().get(name, _DEFAULTS.get(name))


def without(case: Case, *names: str) -> Hashable:
    """What cases share that are equal in all other fields."""
    return frozenset(item for item in case.canonical().items() if item[0] not in names)


def told(value: Value | None) -> str:
    """A field's value as text."""
    return UNSET if value is None else str(value)


def find_across(text: str, base: Sequence[Case], head: Sequence[Case]) -> Across:
    """What "FIELD" or "FIELD=BASE:HEAD" means between these cases, a side's each at least one.

    A field alone must leave one choice of two values. UsageError says what there is.
    """
    field, equals, asked = text.partition("=")
    before, after = _values(field, base), _values(field, head)
    if {*before, *after} == {None}:
        known = dict.fromkeys(name for case in (*base, *head) for name in case.canonical())
        raise UsageError(
            f"--across {field}: no case has a field of that name; they have {', '.join(known)}, "
            "e.g. --across backend"
        )
    if equals:
        values = asked.partition(":")
        return Across(field, _chosen(text, values[0], before), _chosen(text, values[2], after))
    choices = [(old, new) for old in before for new in after if old != new]
    if len({frozenset(each) for each in choices}) == 1:
        return Across(field, *choices[0])
    there = f"base has {_listed(before)} and head has {_listed(after)}"
    if not choices:
        raise UsageError(
            f"--across {field}: {there}; name runs that differ in it, or another field"
        )
    old, new = choices[0]
    raise UsageError(
        f"--across {field}: {there}; say which two, e.g. --across {field}={told(old)}:{told(new)}"
    )


def _values(field: str, cases: Sequence[Case]) -> list[Value | None]:
    return list(dict.fromkeys(field_of(case, field) for case in cases))


def _chosen(text: str, name: str, values: Sequence[Value | None]) -> Value | None:
    for value in values:
        if told(value).lower() == name.lower():
            return value
    raise UsageError(
        f"--across {text}: its side has no '{name}' but {_listed(values)}; written is "
        "FIELD=BASE:HEAD, e.g. --across backend=sdpa:naive"
    )


def _listed(values: Sequence[Value | None]) -> str:
    texts = [told(value) for value in values]
    return ", ".join([*texts[:_SHOWN], *["..."][: len(texts) > _SHOWN]])
