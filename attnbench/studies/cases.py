"""From a study to its cases, with what is left out and why."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from attnbench.errors import UsageError
from attnbench.running.cases import Asked, cases_for
from attnbench.running.plan import by_workload
from attnbench.specs.batch import Batch, BatchSpecError
from attnbench.specs.case import Case, Value
from attnbench.specs.shape import ATTN_MODELS, MLA_MODELS, Shape, attn_shape, mla_shape
from attnbench.specs.sweep import expand_sweep
from attnbench.studies.analysis import CrossoverAnalysis
from attnbench.studies.file import Study, TokenLimits
from attnbench.studies.product import Product

# What Asked takes lists of, by the field of a case.
_LISTED = {
    "dtype": "dtypes",
    "kv_cache_dtype": "kv_cache_dtypes",
    "block_size": "block_sizes",
    "layout": "layouts",
}


@dataclass(frozen=True, slots=True)
class Cells:
    """The cases of a study, and how many cells of its sweep are no case, by reason."""

    cases: tuple[Case, ...]
    left_out: Mapping[str, int]


def cells_of(study: Study, device_kind: str) -> Cells:
    """Every case of the sweep; UsageError for names that nothing here has.

    A crossover has two cases a cell: the threshold at its q_len, for decode, and 1, for prefill.
    """
    left_out: Counter[str] = Counter()
    found: list[Case] = []
    for product in study.sweep:
        batches = _batches(product, study.limits, left_out)
        if batches or not product.templates:
            for asked, rest in _asked(study, product, batches):
                found += [replace(case, **rest) for case in cases_for(asked, device_kind)]
    if isinstance(study.analysis, CrossoverAnalysis):
        if single := sum(case.batch.max_q_len == 1 for case in found):
            left_out["one new token, which no threshold sends to prefill"] += single
        found = [side for case in found for side in sides(case)]
    return Cells(by_workload(found), left_out)


def sides(case: Case) -> tuple[Case, ...]:
    """The same requests on the decode path and on the prefill path; none of one new token.

    A request of one new token has no threshold below it.
    """
    q_len = case.batch.max_q_len
    if q_len == 1:
        return ()
    return tuple(
        replace(case, knobs=(*case.knobs, ("threshold", threshold))) for threshold in (q_len, 1)
    )


def _asked(
    study: Study, product: Product, batches: list[Batch]
) -> Iterator[tuple[Asked, Mapping[str, Any]]]:
    """What the family's command would be asked, once for each shape, and the fields beside."""
    listed: dict[str, Any] = {_LISTED[n]: v for n, v in product.fields.items() if n in _LISTED}
    single = {n: v for n, v in product.fields.items() if n not in _LISTED}
    case_fields = {f.name for f in fields(Case)}
    knobs: Any = product.knobs
    scope = "layer" if isinstance(study.analysis, CrossoverAnalysis) else None
    for values in itertools.product(*single.values()):
        chosen = dict(zip(single, values, strict=True))
        rest: dict[str, Any] = {
            name: chosen.pop(name) for name in list(chosen) if name in case_fields
        }
        asked = Asked(
            family=study.family,
            shape=_shape(study.family, chosen),
            backends=product.backends,
            batches=batches,
            scope=rest.pop("scope", scope),
            knobs=knobs,
            **listed,
        )
        yield asked, rest


def _shape(family: str, chosen: dict[str, Value]) -> Shape:
    dims: dict[str, Any] = dict(chosen)
    tp = dims.pop("tp", 1)
    model = dims.pop("model", "deepseek-v3" if family == "mla" else "llama3-8b")
    try:
        if family == "mla":
            return mla_shape(_known(model, MLA_MODELS), tp, **dims)
        shape = attn_shape(_known(model, ATTN_MODELS), tp, **dims)
    except TypeError:
        raise UsageError(
            f"the family {family} has no {' or '.join(dims)}; leave the key out"
        ) from None
    return shape.for_cache_write() if family == "cache-write" else shape


def _known(model: str, models: Mapping[str, Shape]) -> str:
    if model in models:
        return model
    raise UsageError(f"model {model} is of another family; known here are {', '.join(models)}")


def _batches(product: Product, limits: TokenLimits, left_out: Counter[str]) -> list[Batch]:
    """The batches of all templates with all variables, each once."""
    found: dict[str, Batch] = {}
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
    """The batches of a spec; its lengths may make none, for it was well-formed when loaded."""
    try:
        return expand_sweep(spec)
    except BatchSpecError:
        left_out["kv_len under q_len, and kv_len counts the new tokens too"] += 1
        return []


def _over(batch: Batch, limits: TokenLimits) -> str | None:
    for name, size in (("new", batch.num_tokens), ("kv", batch.num_kv_tokens)):
        limit = getattr(limits, f"{name}_tokens")
        if limit is not None and size > limit:
            kind = "new tokens" if name == "new" else "tokens in the cache"
            return f"over {limit} {kind}, the limit of this study"
    return None
