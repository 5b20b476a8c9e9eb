"""Two runs' sources, software and machines, side by side."""

from collections.abc import Mapping
from itertools import chain

from attnbench.provenance.environment import Environment
from attnbench.records import Run
from attnbench.reporting.text_table import Column, words
from attnbench.results.differences import source_text
from attnbench.units import MISSING

# Facts of the machine that are always shown; the others only if they differ.
_ALWAYS = ("name", "gpu_uuid", "driver", "vbios", "power_limit_watts", "hostname")


def fingerprints(base: Run, head: Run) -> list[Column]:
    """Columns with each side's facts by name; an asterisk marks differences."""
    before, after = _facts(base), _facts(head)
    names = [
        name
        for name in dict.fromkeys(chain(before, after))
        if before.get(name) != after.get(name) or not name.startswith("machine ")
    ]
    marks = ["*" if before.get(n) != after.get(n) else "" for n in names]
    return [
        Column("*", marks, left=True),
        words("fact", [name.removeprefix("machine ") for name in names]),
        words("base", [before.get(name, MISSING) for name in names]),
        words("head", [after.get(name, MISSING) for name in names]),
    ]


def _facts(run: Run) -> dict[str, str]:
    environment = Environment.from_facts(run.environment)
    components = {
        name: f"{each.version} at {each.code}" if each.commit or each.dirty else each.version
        for name, each in environment.components.items()
    }
    machine = {
        name if name in _ALWAYS else f"machine {name}": value for name, value in run.machine.items()
    }
    return _texts(
        {
            "run": f'{run.number} "{run.label}"' if run.label else run.number,
            "started": f"{run.started:%Y-%m-%d %H:%M} UTC",
            "source": source_text(run.source),
            "subject": run.source["subject"],
            "Python": environment.python,
            "CUDA": environment.cuda,
            "cuDNN": environment.cudnn,
            **components,
            **environment.variables,
            **machine,
        }
    )


def _texts(facts: Mapping[str, object]) -> dict[str, str]:
    """The known facts as text."""
    return {name: str(value) for name, value in facts.items() if value not in (None, "")}
