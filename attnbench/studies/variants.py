"""Variants of a study by the command line: other values, the exhaustive sweep, a quick pilot."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from attnbench.errors import UsageError
from attnbench.families import FAMILIES
from attnbench.options.option import table
from attnbench.specs.case import Value
from attnbench.studies.analysis import ContrastAnalysis, CrossoverAnalysis
from attnbench.studies.file import Study
from attnbench.studies.product import FIELDS, VARIABLES, Product
from attnbench.studies.traffic import TrafficAnalysis

Overrides = Mapping[str, Sequence[Value]]  # by field, knob, "backend" or "batch"
T = TypeVar("T")


def exhaustive(study: Study) -> Study:
    """The study with every cell of the file."""
    return replace(study, sweep=study.exhaustive, limits=study.exhaustive_limits)


def quick(study: Study) -> Study:
    """A pilot: of more than three values only the first, the middle and the last.

    The lengths of a crossover search stay, since it visits few of them. UsageError for the batches
    of a trace.
    """
    if isinstance(study.analysis, TrafficAnalysis):
        raise UsageError(
            "--quick leaves batches out, and those of a trace are summed; ask for one round of "
            "all instead, e.g. --rounds 1"
        )
    kept = {"q_len"} if isinstance(study.analysis, CrossoverAnalysis) else set()
    return replace(study, sweep=tuple(_thinned(product, kept) for product in study.sweep))


def _thinned(product: Product, kept: set[str]) -> Product:
    return replace(
        product,
        templates=_three(product.templates),
        variables={n: v if n in kept else _three(v) for n, v in product.variables.items()},
        fields={name: _three(values) for name, values in product.fields.items()},
        knobs={name: _three_and_auto(values) for name, values in product.knobs.items()},
    )


def _three(values: tuple[T, ...]) -> tuple[T, ...]:
    return values if len(values) <= 3 else (values[0], values[len(values) // 2], values[-1])


def _three_and_auto(values: tuple[Value | None, ...]) -> tuple[Value | None, ...]:
    auto = (None,) if None in values else ()
    return auto + _three(tuple(value for value in values if value is not None))


def overridden(study: Study, overrides: Overrides, typed: Mapping[str, str]) -> Study:
    """The study with overrides in place of the file's values, in all products.

    Raises UsageError if a contrast is left without two sides; `typed` are the names of the options
    by field.
    """
    if not overrides:
        return study
    sweep: list[Product] = []
    for product, given in itertools.product(study.sweep, _spelled_out(study.family, overrides)):
        if (changed := _overridden(product, given)) not in sweep:
            sweep.append(changed)
    analysis = study.analysis
    if isinstance(analysis, ContrastAnalysis) and analysis.field in overrides:
        values = [str(value) for value in overrides[analysis.field]]
        pairs = _pairs(study, analysis, values, typed.get(analysis.field))
        analysis = replace(analysis, pairs=pairs)
    return replace(study, sweep=tuple(sweep), analysis=analysis)


def _spelled_out(family: str, overrides: Overrides) -> list[Overrides]:
    """The overrides, once per choice of fields that are set together."""
    together = FAMILIES[family].together
    if together is None or together.name not in overrides:
        return [overrides]
    rest = {name: values for name, values in overrides.items() if name != together.name}
    usual: dict[str, Value] = dict.fromkeys(together.fields, "auto")
    chosen = [usual | dict(together.choices[str(name)]) for name in overrides[together.name]]
    return [rest | {name: [value] for name, value in each.items()} for each in chosen]


def _overridden(product: Product, overrides: Overrides) -> Product:
    given = dict(overrides)
    backends = tuple(map(str, given.pop("backend", product.backends)))
    if "batch" in given:
        batches = tuple(map(str, given.pop("batch")))
        product = replace(product, templates=batches, variables={})
    fields = {name: tuple(given.pop(name)) for name in list(given) if name in FIELDS}
    lengths = {n: tuple(map(int, given.pop(n))) for n in list(given) if n in VARIABLES}
    knobs = {name: tuple(values) for name, values in given.items()}
    return replace(
        product,
        backends=backends,
        variables={n: lengths.get(n, values) for n, values in product.variables.items()},
        fields={**product.fields, **fields},
        knobs={**product.knobs, **knobs},
    )


def _pairs(
    study: Study, analysis: ContrastAnalysis, values: Sequence[str], typed: str | None
) -> tuple[tuple[str, str], ...]:
    """The file's pairs with both values left, else the first value against each other one."""
    kept = tuple(pair for pair in analysis.pairs if set(pair) <= set(values))
    if kept:
        return kept
    if len(values) < 2:
        option = table(FAMILIES[study.family].options)[analysis.field]
        kind, name = option.kind, typed or option.names[0]
        known = " ".join(map(kind.word, dict.fromkeys(itertools.chain(*analysis.pairs))))
        raise UsageError(
            f"{name} {kind.word(values[0])}: {study.name} compares values of {analysis.field}, so "
            f"it needs two or more, e.g. {name} {known}"
        )
    return tuple((values[0], other) for other in values[1:])
