"""The margin of a diff: changes up to it do not matter."""

import re

from attnbench.analysis.verdict import CPU_MARGIN, MARGIN
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.provenance.machine import Machine
from attnbench.records import Run
from attnbench.results.noise import turns_of


def usual_margin(store: Store, *runs: Run) -> float:
    """5 % of separate runs on a CPU, whose times other programs move; else 1 %."""
    turns = turns_of(store, [run.number for run in runs])
    apart = len({turns.get(run.number, run.number) for run in runs}) > 1
    on_cpu = any(Machine.from_facts(run.machine).kind == "cpu" for run in runs)
    return CPU_MARGIN if apart and on_cpu else MARGIN


def parse_margin(text: str) -> float:
    """The fraction of a text such as "1%" or "0.5 %"; UsageError for any other text."""
    if found := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text, re.ASCII):
        return float(found[1]) / 100
    raise UsageError(
        f"'{text}' is not a percentage; expected a number of 0 or more and a percent sign, e.g. 1%"
    )
