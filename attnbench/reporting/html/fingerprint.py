"""The origin of a run's results: command, source, software, machine."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.records import Rates, Run
from attnbench.reporting.doctor import environment_facts, machine_facts
from attnbench.reporting.origin import origin_text
from attnbench.results.differences import source_text
from attnbench.timing.sentinels import Sentinels
from attnbench.units import byte_rate_column, flop_rate_column, seconds_column

Facts = Sequence[tuple[str, str]]
Reached = Mapping[str, Rates]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """All facts about the origin of a run's results."""

    title: str
    origin: str  # code and time in brief
    command: str
    footer: str  # device, commit, versions and date, for pictures
    groups: Sequence[tuple[str, Facts]]  # by name; none is empty


def fingerprint(run: Run, reached: Reached) -> Fingerprint:
    """The fingerprint of a run; `reached` has the sentinels' facts by moment, start and end."""
    label = f' "{run.label}"' if run.label else ""
    groups = [
        ("run", _run(run)),
        ("code under test", _source(run)),
        ("machine", machine_facts(Machine.from_facts(run.machine))),
        ("software", environment_facts(Environment.from_facts(run.environment))),
        *(
            (f"reached at the {moment}", _reached(facts))
            for moment, facts in sorted(reached.items(), reverse=True)
        ),
    ]
    known = [(name, [(n, v) for n, v in facts if v]) for name, facts in groups]
    return Fingerprint(
        f"run {run.number}{label}",
        f"{source_text(run.source)}, {run.started:%Y-%m-%d %H:%M} UTC",
        shlex.join(run.argv),
        origin_text(run),
        [each for each in known if each[1]],
    )


def _run(run: Run) -> Facts:
    counts = ", ".join(f"{count} {status}" for status, count in run.counts.items())
    return [
        ("started", f"{run.started:%Y-%m-%d %H:%M:%S} UTC"),
        ("finished", f"{run.finished:%Y-%m-%d %H:%M:%S} UTC" if run.finished else ""),
        ("status", str(run.status)),
        ("outcomes", counts),
        ("UUID", run.uuid),
    ]


def _source(run: Run) -> Facts:
    source = run.source
    return [
        ("state", source_text(source)),
        ("found by", str(source["origin"] or "")),
        ("repository", str(source["repository"] or "")),
        ("commit", str(source["commit"] or "")),
        ("uncommitted changes", str(source["dirty"] or "")),
        ("subject", str(source["subject"] or "")),
    ]


def _reached(facts: Rates) -> Facts:
    found = Sentinels.from_facts(facts)
    columns = [
        ("copy", byte_rate_column([found.bytes_per_second])),
        ("read", byte_rate_column([found.read_bytes_per_second])),
        ("matmul", flop_rate_column([found.flops_per_second])),
        ("empty kernel in a graph", seconds_column([found.launch_seconds])),
        ("empty kernel between events", seconds_column([found.event_seconds])),
    ]
    return [(name, f"{texts[0]} {unit}") for name, (unit, texts) in columns if texts[0] != "-"]
