"""A decision of a stored run: as rules for a person, and as JSON for what sets a server."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attnbench._version import __version__
from attnbench.analysis.auto import choices
from attnbench.analysis.contrast import Contrast
from attnbench.analysis.decision import (
    Decision,
    DecisionRule,
    Implementation,
    decide,
)
from attnbench.analysis.estimate import Cell, Noise
from attnbench.analysis.ranking import rank
from attnbench.analysis.series import series_of
from attnbench.analysis.tuning import tuned
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.imports.file import COMMAND
from attnbench.provenance.environment import Environment
from attnbench.records import Measurement, Run
from attnbench.reporting.notes import queries_note
from attnbench.results.noise import Noises
from attnbench.results.possible import possible
from attnbench.studies.request import study_of_plan
from attnbench.studies.serving import serving
from attnbench.studies.traffic import TrafficAnalysis

VERSION = 1  # of the file's form
_NAMED = ("vllm", "flashinfer-python", "torch", "triton")


@dataclass(frozen=True, slots=True)
class Decided:
    """The decisions of a run."""

    run: Run
    decisions: tuple[Decision, ...]
    notes: tuple[str, ...] = ()  # on the times that decided

    def as_facts(self) -> dict[str, Any]:
        """JSON; docs/reference/decision.md has its form."""
        environment = Environment.from_facts(self.run.environment)
        versions = {n: c.version for n, c in environment.components.items() if n in _NAMED}
        return {
            "format": "attnbench-decision",
            "version": VERSION,
            "attnbench": __version__,
            "gpu": self.run.machine_name,
            "software": versions,
            "run": {
                "uuid": self.run.uuid,
                "number": self.run.number,
                "label": self.run.label,
                "started": self.run.started.isoformat(),
            },
            "notes": list(self.notes),
            "decisions": [_facts(each) for each in self.decisions],
        }


def decided(store: Store, run: int) -> Decided:
    """The decision of a run by one method of each case.

    Raises UsageError if nothing has a time, and for another tool's results: what only that tool
    knows about them cannot be told from a setting.
    """
    record = store.run(run)
    if record.command == COMMAND:
        raise UsageError(
            f"run {run} has another tool's results, whose settings a server may not have; measure "
            "here, e.g. attnbench attn"
        )
    measured = store.measurements([run])
    method = _method_by_case(measured)
    listed = possible(
        store,
        series_of(each for each in measured if each.method_key == method[each.case_key]),
    )
    if not any(each.time is not None for each in listed):
        raise UsageError(f"run {run} has no times to decide by; `attnbench runs` lists the others")
    family, noises = listed[0].case.family, Noises(store)

    def noise(cell: Cell) -> Noise:
        return noises(record.machine_key, record.machine_model, family, cell.stratum)

    rankings = rank(tuned(listed, ()), lambda _, cell: noise(cell))
    autos = choices(rankings, listed, lambda _, cell: noise(cell))
    steps = _steps(store.plan(run))
    found = decide(rankings, autos, noise, lambda each: serving(family, each) is not None, steps)
    return Decided(record, tuple(found), (*_method_note(measured), *queries_note(listed)))


def _steps(plan: Mapping[str, Any]) -> Mapping[str, int]:
    """The steps of a trace for which each batch stands; none in the plan of another run."""
    if not (facts := plan.get("study")):
        return {}
    analysis = study_of_plan(facts)[0].analysis
    steps = Counter[str]()
    for each in analysis.strata if isinstance(analysis, TrafficAnalysis) else ():
        steps[each.batch] += each.steps
    return steps


def _method_by_case(measured: Sequence[Measurement]) -> dict[str, str]:
    """The key of the method that decides: with a layer between calls, as served, else the first."""
    as_served = [each for each in measured if each.method.get("between") == "layer"]
    found: dict[str, str] = {}
    for each in (*as_served, *measured):
        found.setdefault(each.case_key, each.method_key)
    return found


def _method_note(measured: Sequence[Measurement]) -> list[str]:
    """That times with a layer between calls decided, where a conclusion may be from others."""
    by_between: dict[bool, set[str]] = {True: set(), False: set()}
    for each in measured:
        by_between[each.method.get("between") == "layer"].add(each.case_key)
    if not by_between[True] & by_between[False]:
        return []
    return ["cases measured with and without a layer between calls count with it, as served"]


def _facts(decision: Decision) -> dict[str, Any]:
    workload = {name: value for name, value in decision.case.workload.items() if name != "batch"}
    return {
        "family": decision.case.family,
        "workload": workload,
        "measured": {
            "batches": len(decision.batches),
            **{name: {"min": low, "max": high} for name, (low, high) in decision.measured.items()},
        },
        "baseline": decision.baseline,
        "contested": decision.contested,
        "failing": decision.failing,
        "rules": [_rule(decision, rule) for rule in decision.rules],
        "single": {
            **_choice(decision, decision.single),
            "batches": decision.num_single,
            "ratio_to_rules": _ratio(decision.loss),
        },
    }


def _rule(decision: Decision, rule: DecisionRule) -> dict[str, Any]:
    where = {
        name: {word: value for word, value in zip(("min", "max"), limits, strict=True) if value}
        for name, limits in rule.region.limits.items()
    }
    return {
        "where": where,
        **_choice(decision, rule.choice),
        "batches": len(rule.region.spots),
        "ratio_to_baseline": _ratio(rule.gain),
    }


def _choice(decision: Decision, choice: Implementation) -> dict[str, Any]:
    found = serving(decision.case.family, choice)
    return {
        "backend": choice.backend,
        "settings": dict(choice.settings),
        "path": choice.path or None,
        "vllm": found
        and {
            "arguments": list(found.words),
            "environment": dict(found.variables),
            "not_settable": list(found.unset),
        },
    }


def _ratio(found: Contrast | None) -> dict[str, float | None] | None:
    if found is None:
        return None
    return {"value": found.ratio, "low": found.low, "high": found.high}
