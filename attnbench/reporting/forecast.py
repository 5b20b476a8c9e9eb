"""`--dry-run` as text."""

from tabulate import tabulate

from attnbench.analysis.fields import batch_text
from attnbench.running.forecast import Forecast, Foreseen
from attnbench.units import bytes_column


def forecast_text(found: Forecast) -> str:
    """Every case with its memory and time, then what is refused, then the totals."""
    runnable = [each for each in found.cases if each.refusal is None]
    lines = [_table(runnable)] if runnable else []
    if found.unasked:
        lines.append(f"Nobody could be asked what can run here: {found.unasked}")
    lines += [
        f"{each.case.backend} {batch_text(each.case)}: {each.refusal}"
        for each in found.cases
        if each.refusal is not None
    ]
    total = sum(each.seconds for each in runnable)
    rounds = found.plan.rounds
    lines.append(
        f"{len(runnable)} of {len(found.cases)} cases can run on {found.machine.label}; "
        f"{rounds} rounds of each, ~{_minutes(total)} in all. Nothing was measured."
    )
    return "\n".join(lines)


def _table(cases: list[Foreseen]) -> str:
    unit, memory = bytes_column([each.memory for each in cases])
    rows = [
        (
            batch_text(each.case),
            each.case.backend,
            " ".join([each.case.dtype, *(f"{n}={v}" for n, v in each.case.knobs)]),
            each.sets,
            size,
            f"~{each.seconds:.1f}" + ("*" if each.stored else ""),
        )
        for each, size in zip(cases, memory, strict=True)
    ]
    header = ("batch", "backend", "asked", "sets", f"inputs {unit}", "seconds")
    table = tabulate(rows, header, disable_numparse=True, colalign=("left",) * 3 + ("right",) * 3)
    return table + ("\n* as stored rounds took" if any(each.stored for each in cases) else "")


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
