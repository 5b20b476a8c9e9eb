"""From a request to its cases: a product over all fields with several values."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, TypeVar

from attnbench.errors import UsageError
from attnbench.families import FAMILIES
from attnbench.families.family import Family
from attnbench.families.options import Asked
from attnbench.kernels.base import Backend
from attnbench.kernels.registry import backends, find
from attnbench.running.plan import by_workload
from attnbench.specs.batch import Batch, parse_batch_spec
from attnbench.specs.case import Case, Dtype, Scope, Value
from attnbench.timing.method import Timer

T = TypeVar("T")

MAX_CASES = 50_000  # of one command; planning them takes 2 s
DEFAULT_DTYPE: Mapping[str, Dtype] = {"cuda": "bf16", "cpu": "fp32"}
DEFAULT_TIMER: Mapping[str, Timer] = {"cuda": "cudagraph", "cpu": "cpu"}


def asked_by_default(
    family: Family, backends: Sequence[str] = (), batches: Sequence[Batch] = ()
) -> Asked:
    """The request of a family's command with only these options."""
    return family.asked(family.options(backend=tuple(backends), batch=tuple(batches)))


def cases_for(asked: Asked, device_kind: str) -> tuple[Case, ...]:
    """All cases, with the implementations of a workload together.

    Settings of some backends only (a knob, a layout, pages) go only to those, unless none of the
    named backends has them: then each says so in its refusal.
    """
    named = _named(asked)
    fields = dict(asked.fields)
    block_sizes, layouts = fields.pop("block_size", ()), fields.pop("layout", ())
    batches = asked.batches or _default_batches(asked, device_kind)
    one = Case(asked.family, "", batches[0], asked.shape, DEFAULT_DTYPE[device_kind])
    one = replace(one, scope=_default_scope(asked, named))
    everywhere: dict[str, Sequence[object]] = {"batch": batches, **fields}
    found = []
    for backend in named:
        swept = everywhere | {
            "block_size": _where(any(b.paged for b in named), backend.paged, block_sizes),
            "layout": _where(any(b.layouts for b in named), bool(backend.layouts), layouts),
            "knobs": _knobs(asked, backend, named),
        }
        usual = {name: (value,) for name, value in backend.needs.items() if not swept.get(name)}
        given = {name: values for name, values in (swept | usual).items() if values}
        _require_few(asked, given, len(named))
        found += [
            _of_a_server(
                replace(one, backend=backend.name, **_fields(given, chosen, variant)),
                backend,
                asked,
            )
            for variant in asked.variants
            for chosen in product(*given.values())
        ]
    return by_workload(found)


def _require_few(asked: Asked, given: Mapping[str, Sequence[object]], num_backends: int) -> None:
    """Refuse more cases than a command can plan; counted before any is made."""
    counts = {name: len(values) for name, values in given.items() if len(values) > 1}
    total = math.prod(counts.values()) * len(asked.variants) * num_backends
    if total > MAX_CASES:
        listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise UsageError(
            f"{num_backends} backends with {listed} are {total} cases; up to {MAX_CASES} are "
            "accepted, so ask for fewer values or backends, e.g. --batch-specs {1..64:x2}q1kv1k"
        )


def _of_a_server(case: Case, backend: Backend, asked: Asked) -> Case:
    """The case with the server's knobs that were not asked for; a bare kernel has none.

    For a batch with longer requests than the model's, the server allows them.
    """
    if asked.knobs.get("max_model_len") and case.knob("max_model_len") is None:
        return case
    usual = {
        name: value
        for name, value in asked.served.items()
        if name in backend.knobs and not asked.knobs.get(name)
    }
    if "max_model_len" in usual:
        usual["max_model_len"] = max(int(usual["max_model_len"]), case.batch.max_kv_len)
    return replace(case, knobs=(*case.knobs, *usual.items()))


def _fields(
    names: Iterable[str], values: Iterable[object], together: Mapping[str, Value]
) -> dict[str, Any]:
    """One value per field; those that are set together override."""
    return {**dict(zip(names, values, strict=True)), **together}


def _named(asked: Asked) -> list[Backend]:
    if not asked.backends or "all" in map(str.lower, asked.backends):
        return list(backends(asked.family))
    return list(dict.fromkeys(find(asked.family, name) for name in asked.backends))


def _default_batches(asked: Asked, device_kind: str) -> list[Batch]:
    family = FAMILIES[asked.family]
    swept = (name for name, values in asked.knobs.items() if values and name in family.knob_batches)
    knob = next(swept, None)
    specs = family.batches if knob is None else family.knob_batches[knob]
    return batches_of(specs[device_kind])


def batches_of(specs: str) -> list[Batch]:
    """The batches of several specs with spaces between them."""
    return [parse_batch_spec(spec) for spec in specs.split()]


def _default_scope(asked: Asked, named: Sequence[Backend]) -> Scope:
    """Comparing decode with prefill is fair only if both run all that production does."""
    paths = {backend.path for backend in named}
    return "layer" if asked.knobs.get("threshold") or len(paths) > 1 else "kernel"


def _where(someone: bool, this_one: bool, values: Sequence[T]) -> Sequence[T | None]:
    if not values or (someone and not this_one):
        return (None,)
    return values


def _knobs(
    asked: Asked, backend: Backend, named: Sequence[Backend]
) -> list[tuple[tuple[str, Value], ...]]:
    applied = {
        name: _where(any(name in b.knobs for b in named), name in backend.knobs, values)
        for name, values in asked.knobs.items()
    }
    return [
        tuple((n, v) for n, v in zip(applied, chosen, strict=True) if v is not None)
        for chosen in product(*applied.values())
    ]


def check_asked(asked: Asked) -> None:
    """Refuse unknown backends, and to compare paths that do unequal work."""
    named = _named(asked)
    if "kernel" in asked.fields.get("scope", ()) and len({each.path for each in named}) > 1:
        names = ", ".join(backend.name for backend in named)
        raise UsageError(
            f"--scope kernel with {names}: decode and prefill do equal work only at scope layer; "
            "ask for backends of one path, or --scope layer, e.g. --backend torch-absorbed"
        )
