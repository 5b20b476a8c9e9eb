"""The best backend of each shape, ties as ties."""

from collections import Counter
from collections.abc import Sequence

from attnbench.analysis.axes import axis_text, axis_value
from attnbench.analysis.fields import batch_text
from attnbench.analysis.series import Series
from attnbench.analysis.winner import Won, winners
from attnbench.specs.case import Case
from attnbench.studies.analysis import WinnerAnswer
from attnbench.studies.answers.base import Answer, NoiseOf, Table, describe, not_answered, varying
from attnbench.studies.charts import Chart, Heat
from attnbench.units import seconds_column, three_digits


def answer(listed: Sequence[Series], asked: WinnerAnswer, noise: NoiseOf) -> Answer:
    """How often each backend wins, a row for each workload, a map for each shape."""
    if sentence := not_answered(listed):
        return Answer([sentence])
    won = winners(listed, asked.tune, noise)
    rivals = [each for each in won if each.num_rivals]
    judged = [each for each in rivals if not each.unknown]
    lines = _counts(judged) if judged or not rivals else []
    lines += _by_single_rounds([each for each in rivals if each.unknown])
    lines += _never_ran(listed)
    if len(won) > len(rivals):
        lines.append(f"{len(won) - len(rivals)} of {len(won)} workloads ran with one backend only")
    return Answer(lines, [_table(won)], _maps(won, asked))


def _counts(won: Sequence[Won]) -> list[str]:
    if not won:
        return ["no workload has two backends with a time, so that nothing is compared"]
    alone = Counter(each.best.case.backend for each in won if not each.ties)
    shared = Counter(
        backend
        for each in won
        if each.ties
        for backend in {t.case.backend for t in (each.best, *each.ties)}
    )
    names = sorted({*alone, *shared}, key=lambda name: (-alone[name], -shared[name], name))
    return [
        f"{name} is fastest in {alone[name]} of {len(won)} workloads"
        + (f", and ties for it in {shared[name]}" if shared[name] else "")
        for name in names
    ]


def _by_single_rounds(won: Sequence[Won]) -> list[str]:
    """Single rounds show neither a win nor a tie, only which was the quickest."""
    if not won:
        return []
    counts = Counter(each.best.case.backend for each in won)
    quickest = ", ".join(f"{name} in {count}" for name, count in counts.most_common())
    of = "1 workload" if len(won) == 1 else f"{len(won)} workloads"
    return [f"quickest in single rounds of {of}, which show no win (--rounds 3 would): {quickest}"]


def _never_ran(listed: Sequence[Series]) -> list[str]:
    backends = dict.fromkeys(each.case.backend for each in listed)
    sentences = (
        not_answered([each for each in listed if each.case.backend == name], name)
        for name in backends
    )
    return [sentence for sentence in sentences if sentence]


def _table(won: Sequence[Won]) -> Table:
    cases = [each.best.case for each in won]
    unit, times = seconds_column([each.best.seconds for each in won])
    columns = {"spec": [batch_text(case) for case in cases]}
    for name in _axes(cases):
        columns[name.replace("_", " ")] = [axis_text(case, name) for case in cases]
    columns["fastest"] = [each.best.name for each in won]
    columns[unit] = times
    if any(each.ties for each in won):
        columns["ties"] = ["; ".join(tie.name for tie in each.ties) or "-" for each in won]
    columns["next"] = [each.next[0].name if each.next else "-" for each in won]
    columns["vs best"] = [f"{three_digits(each.next[1])}x" if each.next else "-" for each in won]
    return Table("The fastest of each workload; ties are not slower by 1 % outside noise", columns)


def _axes(cases: Sequence[Case]) -> list[str]:
    names = dict.fromkeys(name for case in cases for name in case.workload)
    return varying(cases, [name for name in names if name not in ("batch", "family")])


def _maps(won: Sequence[Won], asked: WinnerAnswer) -> list[Chart]:
    """A map for each value of what is on neither axis."""
    rows, columns = asked.map
    cases = [each.best.case for each in won]
    axes = [*_axes(cases), *varying(cases, ("q_len", "batch_size", "kv_len"))]
    rest = [name for name in dict.fromkeys(axes) if name not in (rows, columns)]
    groups: dict[str, list[Won]] = {}
    for each in won:
        groups.setdefault(_title(each.best.case, rest), []).append(each)
    names = sorted({each.best.case.backend for each in won if not (each.ties or each.unknown)})
    return [_map(title, group, rows, columns, names) for title, group in groups.items()]


def _title(case: Case, axes: Sequence[str]) -> str:
    """The values off the map; of whole prompts both lengths are one, which the map may show."""
    if case.batch.max_q_len == case.batch.max_kv_len > 1:
        beside = describe(case, [name for name in axes if name not in ("q_len", "kv_len")])
        return f"prefill, {beside}" if beside else "prefill"
    return describe(case, axes)


def _map(title: str, group: Sequence[Won], rows: str, columns: str, names: Sequence[str]) -> Heat:
    cases = [each.best.case for each in group]
    xs, ys = _values(cases, columns), _values(cases, rows)
    cells = {(axis_text(e.best.case, rows), axis_text(e.best.case, columns)): e for e in group}
    found = [[cells.get((y, x)) for x in xs] for y in ys]
    return Heat(
        "Fastest backend" + (f": {title}" if title else ""),
        columns.replace("_", " "),
        rows.replace("_", " "),
        xs,
        ys,
        [[_short(each) if each else "" for each in line] for line in found],
        [[_colour(each, names) if each else None for each in line] for line in found],
        "and the next one's time over its; grey: nobody wins",
        named=True,
    )


def _colour(won: Won, names: Sequence[str]) -> int:
    """One for each backend that wins somewhere, and one where nobody does."""
    return 0 if won.ties or won.unknown else 1 + names.index(won.best.case.backend)


def _short(won: Won) -> str:
    if won.ties:
        return "tie\n" + "\n".join(dict.fromkeys(t.case.backend for t in (won.best, *won.ties)))
    return won.best.case.backend + (f"\n{won.next[1]:.2f}x" if won.next else "")


def _values(cases: Sequence[Case], name: str) -> list[str]:
    found = {axis_value(case, name): axis_text(case, name) for case in cases}
    return [found[value] for value in sorted(found, key=lambda v: (str(type(v)), v))]
