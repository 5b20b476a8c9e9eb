"""The cases of a study, and the cells that are left out with the reason."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from attnbench.errors import UsageError
from attnbench.families import FAMILIES
from attnbench.families.family import Family
from attnbench.families.options import Asked, FamilyOptions
from attnbench.options.kinds import Choice
from attnbench.options.option import table
from attnbench.running.cases import cases_for
from attnbench.running.plan import by_workload
from attnbench.specs.batch import Batch, BatchSpecError
from attnbench.specs.case import FLAT_FIELDS, Case
from attnbench.specs.sweep import MAX_EXPANDED, expand_sweep
from attnbench.studies.analysis import CrossoverAnalysis
from attnbench.studies.file import Study, TokenLimits
from attnbench.studies.product import Product


@dataclass(frozen=True, slots=True)
class Cells:
    """The cases of a study, and the number of cells left out of its sweep, by reason."""

    cases: tuple[Case, ...]
    left_out: Mapping[str, int]


def cells_of(study: Study, device_kind: str) -> Cells:
    """Every case of the sweep; UsageError for unknown names.

    A crossover has two cases per cell: the threshold at its q_len, for decode, and 1, for prefill.
    """
    left_out: Counter[str] = Counter()
    found: list[Case] = []
    for product in study.sweep:
        batches = _batches(product, study.limits, left_out)
        if batches or not product.templates:
            for asked in _asked(study, product, batches):
                found += cases_for(asked, device_kind)
    if isinstance(study.analysis, CrossoverAnalysis):
        if single := sum(case.batch.max_q_len == 1 for case in found):
            left_out["one new token, which no threshold sends to prefill"] += single
        found = [side for case in found for side in sides(case)]
    return Cells(by_workload(found), left_out)


def sides(case: Case) -> tuple[Case, ...]:
    """The same requests on the decode path and on the prefill path; none for one new token.

    A request of one new token has no threshold below it.
    """
    q_len = case.batch.max_q_len
    if q_len == 1:
        return ()
    return tuple(
        replace(case, knobs=(*case.knobs, ("threshold", threshold))) for threshold in (q_len, 1)
    )


def _asked(study: Study, product: Product, batches: list[Batch]) -> Iterator[Asked]:
    """The requests to the family's command, one per shape."""
    dims = {name: values for name, values in product.fields.items() if name not in FLAT_FIELDS}
    fields = {name: values for name, values in product.fields.items() if name in FLAT_FIELDS}
    if isinstance(study.analysis, CrossoverAnalysis):
        fields = {"scope": ("layer",)} | fields
    for values in itertools.product(*dims.values()):
        options = _options(FAMILIES[study.family], dict(zip(dims, values, strict=True)))
        yield Asked(
            family=study.family,
            shape=options.shape(),
            backends=product.backends,
            batches=batches,
            fields=options.usual() | fields,
            knobs=product.knobs,
            served=options.served(),
        )


def _options(family: Family, dims: Mapping[str, Any]) -> FamilyOptions:
    """The options of the family's command for a shape."""
    options = table(family.options)
    for name, value in dims.items():
        if name not in options:
            raise UsageError(f"the family {family.name} has no {name}; leave the key out")
        kind = options[name].kind
        if isinstance(kind, Choice) and kind.read(value) is None:
            known = ", ".join(kind.values)
            raise UsageError(f"{name} {value} belongs to another family; accepted are {known}")
    return family.options(**dims)


def _batches(product: Product, limits: TokenLimits, left_out: Counter[str]) -> list[Batch]:
    """The batches of all templates with all variables, each once."""
    found: dict[str, Batch] = {}
    lists = [*product.variables.values(), product.templates]
    if (count := math.prod(map(len, lists))) > MAX_EXPANDED:
        raise UsageError(
            f"{' x '.join(product.variables)}: {count} batches are over {MAX_EXPANDED}, the most "
            "of one product; sweep fewer values, e.g. 1..64:x2"
        )
    for values in itertools.product(*product.variables.values()):
        filled = dict(zip(product.variables, values, strict=True))
        if "context" in filled:
            filled["kv_len"] = filled.get("q_len", 1) + filled["context"]
        for template in product.templates:
            for batch in _readable(_filled(template, filled), left_out):
                if reason := _over(batch, limits):
                    left_out[reason] += 1
                else:
                    found[str(batch)] = batch
    return list(found.values())


def _filled(template: str, values: Mapping[str, int]) -> str:
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", str(value))
    return template


def _readable(spec: str, left_out: Counter[str]) -> list[Batch]:
    """The batches of a well-formed spec; none if its lengths do not make a batch."""
    try:
        return expand_sweep(spec)
    except BatchSpecError:
        left_out["kv_len under q_len, and kv_len counts the new tokens too"] += 1
        return []


def _over(batch: Batch, limits: TokenLimits) -> str | None:
    for kind, size, limit in (
        ("new tokens", batch.num_tokens, limits.new_tokens),
        ("tokens in the cache", batch.num_kv_tokens, limits.kv_tokens),
    ):
        if limit is not None and size > limit:
            return f"over {limit} {kind}, the limit of this study"
    return None
