"""`--dry-run` as text."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from attnbench.analysis.across import SERVER_KNOBS
from attnbench.analysis.fields import batch_text
from attnbench.reporting.progress import asked_text
from attnbench.reporting.text_table import Column, text_table, words, wrapped
from attnbench.running.forecast import Forecast, Foreseen
from attnbench.specs.case import Case, Value
from attnbench.units import bytes_column, counted, minutes_text


def forecast_text(found: Forecast, width: int, sides: int) -> str:
    """Every case with its memory and time, then refused cases, then the totals of all sides.

    Of two sides, as `ab` has them, each turn starts a worker.
    """
    runnable = [each for each in found.cases if each.refusal is None]
    lines = [_table(runnable, width)] if runnable else []
    if found.unasked:
        lines.append(f"Could not determine what can run here: {found.unasked}")
    lines += [wrapped(line, width, "  ") for line in _refusals(found.cases)]
    last = f"{len(runnable)} of {len(found.cases)} cases can run on {found.where}"
    if runnable:
        rounds, time = found.plan.rounds, minutes_text(sides * found.seconds)
        last += f"; {counted(rounds, 'round')} of each{' on both sides' * (sides == 2)}"
        last += f", ~{time} in total"
        last += f" and {counted(sides * rounds, 'worker start')}" * (sides == 2)
    lines.append(wrapped(f"{last}. Nothing was measured.", width))
    return "\n".join(lines)


def _refusals(cases: Sequence[Foreseen]) -> list[str]:
    """A line per reason, with its backends and number of cases."""
    stopped: dict[str, dict[str, int]] = {}
    for each in cases:
        if each.refusal is not None:
            counts = stopped.setdefault(each.refusal, {})
            counts[each.case.backend] = counts.get(each.case.backend, 0) + 1
    totals = {reason: sum(counts.values()) for reason, counts in stopped.items()}
    return [
        f"{', '.join(stopped[reason])} ({counted(total, 'case')}): {reason}"
        for reason, total in totals.items()
    ]


def _server(cases: Sequence[Case]) -> Mapping[str, Value]:
    """The server's knobs that every case of a backend has or none, all with one value."""
    values, backends = defaultdict[str, set[Value | None]](set), {each.backend for each in cases}
    for backend in backends:
        own = [dict(each.knobs) for each in cases if each.backend == backend]
        for name in {name for knobs in own for name in knobs} & set(SERVER_KNOBS):
            values[name] |= {knobs.get(name) for knobs in own}
    alone = {name: next(iter(found)) for name, found in sorted(values.items()) if len(found) == 1}
    return {name: value for name, value in alone.items() if value is not None}


def _table(cases: list[Foreseen], width: int) -> str:
    unit, memory = bytes_column([each.memory for each in cases])
    server = _server([each.case for each in cases])
    marks = ["*" if each.stored else "!" if each.too_long else "" for each in cases]
    columns = [
        words("batch", [batch_text(each.case) for each in cases]),
        Column("backend", [each.case.backend for each in cases], left=True),
        words("settings", [asked_text(each.case, server) for each in cases]),
        Column("sets", [str(each.sets) for each in cases]),
        Column(f"memory\n{unit}", memory),
        Column("s", [f"~{e.seconds:.1f}{mark}" for e, mark in zip(cases, marks, strict=True)]),
    ]
    legend = {"*": "* from stored rounds", "!": "! a round may reach its --timeout"}
    used = [text for mark, text in legend.items() if mark in marks]
    if server:
        settings = " ".join(f"{name}={value}" for name, value in server.items())
        used.append(wrapped(f"backends of vLLM as in a server: {settings}", width, "  "))
    return "\n".join([text_table(columns, width=width), *used])
