"""The origin of a stored result as text."""

from attnbench.analysis.fields import batch_text
from attnbench.reporting.runs import run_text
from attnbench.results.repro import Repro
from attnbench.units import seconds_column


def subject_text(found: Repro) -> str:
    """The command's subject, with time and machine."""
    run, measurement = found.run, found.measurement
    when = f"measured {run.started:%Y-%m-%d %H:%M} UTC on {run.machine_name}"
    if measurement is None:
        return f"{run_text(run)}, {when}"
    unit, (time,) = seconds_column([measurement.median])
    became = str(measurement.status) if measurement.median is None else f"{time} {unit}"
    what = f"{measurement.case.backend} {batch_text(measurement.case)}"
    return f"{what}: {became} in round {measurement.round + 1} of run {run.number}, {when}"
