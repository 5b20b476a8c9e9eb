"""What the command line makes of a study: other values, the exhaustive sweep, a quick pilot."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TypeVar

from attnbench.errors import UsageError
from attnbench.specs.case import Value
from attnbench.studies.analysis import ContrastAnalysis, CrossoverAnalysis
from attnbench.studies.file import Study
from attnbench.studies.product import FIELDS, VARIABLES, Product

Overrides = Mapping[str, Sequence[Value]]  # by field, knob, "backend" or "batch"
T = TypeVar("T")


def exhaustive(study: Study) -> Study:
    """With every cell that the file allows."""
    return replace(study, sweep=study.exhaustive, limits=study.exhaustive_limits)


def quick(study: Study) -> Study:
    """A pilot: of more than three values of anything the first, the middle and the last.

    The lengths along which a crossover is searched stay, since a search visits few of them.
    """
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


def overridden(study: Study, overrides: Overrides) -> Study:
    """With what was given by hand in place of what the file says, in all products.

    UsageError where that leaves a contrast without two sides to compare.
    """
    if not overrides:
        return study
    sweep = tuple(_overridden(product, overrides) for product in study.sweep)
    analysis = study.analysis
    if isinstance(analysis, ContrastAnalysis) and analysis.field in overrides:
        pairs = _pairs(study.name, analysis, [str(v) for v in overrides[analysis.field]])
        analysis = replace(analysis, pairs=pairs)
    return replace(study, sweep=sweep, analysis=analysis)


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
    name: str, analysis: ContrastAnalysis, values: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """The file's pairs of which both are left, else the first value against each other one."""
    kept = tuple(pair for pair in analysis.pairs if set(pair) <= set(values))
    if kept:
        return kept
    if len(values) < 2:
        option = "--" + analysis.field.replace("_", "-")
        known = " ".join(dict.fromkeys(chain.from_iterable(analysis.pairs)))
        raise UsageError(
            f"{option} {values[0]}: {name} compares values of {analysis.field}, so it needs two or "
            f"more, e.g. {option} {known}"
        )
    return tuple((values[0], other) for other in values[1:])
