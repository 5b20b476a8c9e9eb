"""Cases that only one side of a diff has: counted by the field whose value the other side lacks."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from attnbench.analysis.across import field_text
from attnbench.analysis.fields import batch_text
from attnbench.shorten import some
from attnbench.specs.case import Case, Value

Facts = Mapping[str, Value | None]

_VALUES = 6  # listed of a field
_CASES = 4  # listed that no single field tells apart


def only_in(
    side: str,
    lonely: Sequence[Case],
    other: Collection[Case],
    describe: Callable[[Case], str],
    but: str | None = None,
) -> list[str]:
    """A line per field, e.g. "12 only in base: backend flashinfer", the one with most cases first.

    A case counts once. Cases whose values all occur on the other side, but not together, are listed
    by name. `but` is a field that differs on purpose.
    """
    lines, left = [], [(case, case.fields()) for case in lonely]
    known = _values([case.fields() for case in other])
    while left:
        found = {name: _with_new(name, left, known) for name in _values(f for _, f in left)}
        found.pop(but or "", None)
        name = max(found, key=lambda each: len(found[each]), default="")
        if not name or not found[name]:
            break
        values = dict.fromkeys(_text(name, case) for case, _ in found[name])
        lines.append(
            f"{len(found[name])} only in {side}: {name} {some(values, len(values), _VALUES, ', ')}"
        )
        counted = {id(case) for case, _ in found[name]}
        left = [each for each in left if id(each[0]) not in counted]
    if left:
        named = (describe(case) for case, _ in left)
        lines.append(f"{len(left)} only in {side}: {some(named, len(left), _CASES)}")
    return lines


def _values(cases: Iterable[Facts]) -> dict[str, set[Value | None]]:
    found = defaultdict[str, set[Value | None]](set)
    for fields in cases:
        for name, value in fields.items():
            found[name].add(value)
    return found


def _with_new(
    name: str, cases: Iterable[tuple[Case, Facts]], known: Mapping[str, set[Value | None]]
) -> list[tuple[Case, Facts]]:
    """The cases whose value of a field no case of the other side has."""
    there = known.get(name, {None})
    return [each for each in cases if each[1].get(name) not in there]


def _text(name: str, case: Case) -> str:
    return batch_text(case) if name == "batch" else field_text(case.fields().get(name))
