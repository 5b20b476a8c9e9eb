"""Cases that are equal in all fields but one."""

from collections.abc import Sequence
from dataclasses import dataclass

from attnbench.errors import UsageError
from attnbench.specs.case import Case, Value, value_text

UNSET = "unset"  # how the value of a field that a case leaves open is written

# Knobs of a server that not every backend has: with another backend one may be missing.
SERVER_KNOBS = ("decode_kernel", "max_model_len", "mixed_windows")

_SHOWN = 6  # values or fields in a message


@dataclass(frozen=True, slots=True)
class Across:
    """A field of cases, and which of its values is compared with which."""

    field: str
    base: Value | None  # None where a case leaves it open
    head: Value | None

    def __str__(self) -> str:
        return f"{self.field} {told(self.base)} -> {told(self.head)}"


def same_server(base: Case, head: Case, field: str) -> bool:
    """Whether the knobs of a server, but for the field, are equal where both cases have them."""
    names = (name for name in SERVER_KNOBS if name != field)
    pairs = ((base.knob(name), head.knob(name)) for name in names)
    return all(None in pair or pair[0] == pair[1] for pair in pairs)


def told(value: Value | None) -> str:
    """A field's value as text."""
    return value_text(value, UNSET)


def find_across(text: str, base: Sequence[Case], head: Sequence[Case]) -> Across:
    """What "FIELD" or "FIELD=BASE:HEAD" means between these cases, a side's each at least one.

    A field alone must leave one choice of two values. UsageError says what there is.
    """
    field, equals, asked = text.partition("=")
    before, after = _values(field, base), _values(field, head)
    if {*before, *after} == {None}:
        fields = [item for case in (*base, *head) for item in case.fields().items()]
        known = dict.fromkeys(name for name, value in fields if value is not None)
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
    return list(dict.fromkeys(case.fields().get(field) for case in cases))


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
