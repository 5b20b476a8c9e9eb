"""Requests for a study, which comes from the package, a file, or the plan of a stored run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from attnbench.analysis.fields import spec
from attnbench.errors import UsageError
from attnbench.families import FAMILIES
from attnbench.kernels.registry import find
from attnbench.meant import meant
from attnbench.options.option import Named, NamedOption, stored, table
from attnbench.provenance.machine import Machine
from attnbench.running.plan import Plan, PlanFor, by_workload
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case, Value
from attnbench.studies.analysis import CrossoverAnalysis
from attnbench.studies.cases import cells_of
from attnbench.studies.file import Study, read_study
from attnbench.studies.product import FIELDS
from attnbench.studies.search import Search
from attnbench.studies.traffic import TrafficAnalysis
from attnbench.studies.variants import exhaustive, overridden, quick
from attnbench.studies.yaml_entry import Entry, read_utf8, read_yaml

_OF_TRACE = ("batch", "model", "tp")


@cache
def built_in() -> Mapping[str, Study]:
    """All studies of the package by name."""
    folder = files("attnbench.studies").joinpath("built_in")
    found = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name.endswith(".yaml"):
            name = path.name.removesuffix(".yaml")
            found[name] = read_study(path.read_text(encoding="utf-8"), name, path.name, FAMILIES)
    return found


def load_study(name: str) -> Study:
    """The study of a built-in name or alias, '-' and '_' alike, or of a file.

    Raises UsageError for any other name, and for a file that cannot be read.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return _from_file(Path(name))
    wanted = name.lower().replace("_", "-")
    for study in built_in().values():
        if wanted in (each.replace("_", "-") for each in (study.name, *study.aliases)):
            return study
    if Path(name).is_file():
        return _from_file(Path(name))
    hint = meant(name, built_in(), cutoff=0.5)
    raise UsageError(
        f"no study and no file is called '{name}'{hint}; known are {', '.join(built_in())}, "
        "e.g. attnbench study numsplits"
    )


def _from_file(path: Path) -> Study:
    try:
        text = read_utf8(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    study = read_study(text, path.stem, str(path), FAMILIES)
    for item in read_yaml(text, str(path)).mapping()["sweep"].items():
        for entry in item.mapping().get("backend", item).items():
            _require_backend(study.family, entry)
    return study


def _require_backend(family: str, entry: Entry) -> None:
    """Only of a file: a stored study may name a backend of a user who is elsewhere."""
    if entry.key != "backend" or entry.text() == "all":
        return
    try:
        find(family, entry.text())
    except UsageError as error:
        entry.fail(str(error))


def changed(
    study: Study,
    overrides: Mapping[str, Sequence[Value]],
    typed: Mapping[str, str] = MappingProxyType({}),
    /,
    *,
    is_quick: bool = False,
    is_exhaustive: bool = False,
) -> Study:
    """A study with the command line's changes, which override the file.

    `typed` are the names of the options that override, for messages.
    """
    if is_exhaustive:
        study = exhaustive(study)
    if is_quick:
        study = quick(study)
    return overridden(study, overrides, typed)


def study_of_plan(facts: Mapping[str, Any]) -> tuple[Study, list[str]]:
    """The study of a stored plan as it was run, and its differences from the file."""
    study = read_study(facts["text"], facts["name"], f"{facts['name']}.yaml", FAMILIES)
    choices = {name: facts.get(name, False) for name in ("is_quick", "is_exhaustive")}
    overrides = facts.get("overrides", {})
    return changed(study, overrides, **choices), changes(overrides, **choices)


def changes(
    overrides: Mapping[str, Sequence[Value]], *, is_quick: bool, is_exhaustive: bool
) -> list[str]:
    """The differences from the file, as text."""
    lines = [
        f"{name}: {' '.join(_short(name, each) for each in values)} (command line, before the file)"
        for name, values in overrides.items()
    ]
    if is_quick:
        lines.append("a pilot: the sweep is thinned, and each case has one round")
    if is_exhaustive:
        lines.append("exhaustive: every cell that the file allows")
    return lines


def _short(name: str, value: Value) -> str:
    """A value as text; of a batch with many lengths the short spec."""
    return spec(parse_batch_spec(str(value))) if name == "batch" else str(value)


@dataclass(frozen=True, slots=True)
class StudyRequest:
    """A study as the command line asks for it."""

    study: Study  # changed
    choices: Mapping[str, Any]  # is_quick, is_exhaustive and overrides, JSON
    file_rounds: int | None

    @classmethod
    def of(cls, study: Study, named: Named, *, is_quick: bool, is_exhaustive: bool) -> Self:
        """The study with named options over the file; UsageError for ones that no study sweeps."""
        ours = table(FAMILIES[study.family].options)
        overrides = {
            field: _values(study, field, each) for field, each in named.items() if field in ours
        }
        choices = {"is_quick": is_quick, "is_exhaustive": is_exhaustive}
        typed = {field: each.typed for field, each in named.items()}
        wanted = changed(study, overrides, typed, **choices)
        return cls(wanted, {**choices, "overrides": overrides}, 1 if is_quick else study.rounds)

    def rounds(self, named: Named) -> int:
        """The rounds of the command line, else of the pilot or the file, else 3."""
        if "rounds" in named:
            return int(named["rounds"].plain)
        return self.file_rounds or 3

    def stored(self, named: Named) -> dict[str, object]:
        """JSON of all that a resumed run must share."""
        facts = stored(named) | {"study": self.study.name, **self.choices}
        if isinstance(self.study.analysis, TrafficAnalysis):
            # Options of a trace make its batches, so those say whether they were the same.
            facts["trace"] = f"{self.study.analysis.trace} in {self.study.analysis.digest}"
        return facts

    @property
    def changes(self) -> list[str]:
        """The differences from the file, as text."""
        return changes(**self.choices)

    def plan_for(self, plan_of: Callable[[Sequence[Case], Machine], Plan]) -> PlanFor:
        """The plan on a machine: all cases, or those a search starts with."""

        def plan(machine: Machine) -> Plan:
            cells = cells_of(self.study, machine.kind)
            if not cells.cases:
                raise UsageError(f"{self.study.name} has no cell left: {dict(cells.left_out)}")
            found = plan_of(cells.cases, machine)
            facts = {
                "name": self.study.name,
                "text": self.study.text,
                "left_out": dict(cells.left_out),
                **self.choices,
            }
            is_exhaustive = self.is_exhaustive
            search = search_of(self.study, cells.cases, found.rounds, is_exhaustive=is_exhaustive)
            cases = cells.cases if search is None else search.first()
            return replace(found, cases=by_workload(list(cases)), study=facts)

        return plan

    @property
    def is_exhaustive(self) -> bool:
        """Whether all cells are wanted."""
        return bool(self.choices["is_exhaustive"])


def search_of(
    study: Study, cases: Sequence[Case], rounds: int, *, is_exhaustive: bool
) -> Search | None:
    """The search for a study's crossovers; None if all cells are measured."""
    if is_exhaustive or not isinstance(study.analysis, CrossoverAnalysis):
        return None
    return Search(cases, rounds, study.analysis.resolution)


def _values(study: Study, field: str, named: NamedOption) -> list[Value]:
    """The values that an option gives a field, knob, backend or batch of the sweep."""
    family = FAMILIES[study.family]
    swept = {variable for product in study.sweep for variable in product.variables}
    together = {family.together.name} if family.together else set[str]()
    if not (named.option.knob or field in {*FIELDS, *swept, *together, "backend", "batch"}):
        raise UsageError(f"{named.typed} sets nothing that a study sweeps; leave it out")
    if field in _OF_TRACE and isinstance(study.analysis, TrafficAnalysis):
        raise UsageError(
            f"{named.typed}: the batches of {study.name} are those of a trace as one model serves "
            "it; leave it out, or ask for another study, e.g. attnbench study traffic --trace "
            "requests.csv --model llama3-70b --tp 8"
        )
    if field == "threshold" and isinstance(study.analysis, CrossoverAnalysis):
        raise UsageError(f"{named.typed}: {study.name} chooses the thresholds itself; leave it out")
    plain = named.plain
    return plain if isinstance(plain, list) else [plain]
