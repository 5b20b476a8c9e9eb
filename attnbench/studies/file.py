"""Studies: a question, a sweep, and how the answer is found; read from YAML.

    question: Is HND worth it?
    family: cache-write
    rounds: 3
    answer: {contrast: {field: layout, pairs: [[NHD, HND]]}}
    sweep:
      - backend: [cuda, triton]
        layout: [NHD, HND]
        batch_size: 1
        q_len: 1..64k:x4

An item of the sweep is a product over its keys: fields of a case or its shape, `model`, `tp`,
`knobs`, and variables that fill the templates under `batch`. Numbers are lists, ranges such as
1..16:5 or 1k..32k:x2, or both. kv_len may be given as `context`, the tokens already in the cache.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any

from attnbench.studies.analysis import (
    Analysis,
    ContrastAnalysis,
    CrossoverAnalysis,
    GrowthAnalysis,
    OptimumAnalysis,
    read_analysis,
)
from attnbench.studies.product import (
    Product,
    differ,
    field_values,
    has_two,
    number,
    numbers,
    read_knobs,
    read_product,
)
from attnbench.studies.traffic import TrafficAnalysis
from attnbench.studies.yaml_entry import Entry, read_yaml

_STUDY_KEYS = ("question", "aliases", "family", "rounds", "limits", "answer", "sweep", "exhaustive")


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """The largest batches of a study; larger ones are left out, and counted."""

    new_tokens: int | None = None  # of all requests together
    kv_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Study:
    """A study file; `exhaustive` holds the products as --exhaustive widens them."""

    name: str
    text: str  # of the file
    question: str
    family: str
    analysis: Analysis
    sweep: tuple[Product, ...]
    aliases: tuple[str, ...] = ()
    rounds: int | None = None
    limits: TokenLimits = TokenLimits()
    exhaustive: tuple[Product, ...] = ()
    exhaustive_limits: TokenLimits = TokenLimits()


def read_study(text: str, name: str, file: str, families: Collection[str]) -> Study:
    """The study that a file's text describes.

    Raises UsageError, with file, line and key, for unreadable content, an unknown key, and anything
    without effect: a repeated value, a variable that no template uses, an answer about something
    that is not swept.
    """
    top = read_yaml(text, file)
    keys = top.mapping(_STUDY_KEYS)
    for needed in ("question", "family", "answer", "sweep"):
        if needed not in keys:
            top.fail(f"the key {needed} is missing")
    family = keys["family"].text()
    if family not in families:
        keys["family"].fail(f"no family is called '{family}'; known are {', '.join(families)}")
    sweep = tuple(read_product(item) for item in keys["sweep"].items())
    analysis = read_analysis(keys["answer"])
    if isinstance(analysis, TrafficAnalysis):
        sweep = analysis.with_batches(keys["sweep"], sweep)
    _check_swept(keys["answer"], analysis, sweep)
    wide = _read_exhaustive(keys["exhaustive"], sweep) if "exhaustive" in keys else (sweep, None)
    limits = _read_limits(keys.get("limits"))
    return Study(
        name=name,
        text=text,
        question=" ".join(keys["question"].text().split()),
        family=family,
        analysis=analysis,
        sweep=sweep,
        aliases=keys["aliases"].texts() if "aliases" in keys else (),
        rounds=number(keys["rounds"]) if "rounds" in keys else None,
        limits=limits,
        exhaustive=wide[0],
        exhaustive_limits=wide[1] or limits,
    )


def _read_limits(entry: Entry | None) -> TokenLimits:
    if entry is None:
        return TokenLimits()
    known = [f.name for f in fields(TokenLimits)]
    return TokenLimits(**{name: number(each) for name, each in entry.mapping(known).items()})


def _read_exhaustive(
    entry: Entry, sweep: Sequence[Product]
) -> tuple[tuple[Product, ...], TokenLimits | None]:
    """All products with the values given here in place of their own."""
    names = {"limits", "knobs", "backend", *(n for s in sweep for n in (*s.variables, *s.fields))}
    keys = entry.mapping(names)
    limits = _read_limits(keys.pop("limits")) if "limits" in keys else None
    knobs = read_knobs(keys.pop("knobs")) if "knobs" in keys else {}
    wide = []
    for product in sweep:
        values: dict[str, Any] = {
            "variables": dict(product.variables)
            | {n: numbers(e) for n, e in keys.items() if n in product.variables},
            "fields": dict(product.fields)
            | {n: field_values(n, e) for n, e in keys.items() if n in product.fields},
            "knobs": dict(product.knobs) | {n: v for n, v in knobs.items() if n in product.knobs},
        }
        backends = keys["backend"].texts() if "backend" in keys else product.backends
        wide.append(Product(backends, product.templates, **values))
    return tuple(wide), limits


def _swept(analysis: Analysis) -> tuple[str, ...]:
    """The fields, knobs and variables that an answer is about."""
    match analysis:
        case CrossoverAnalysis():
            return ("q_len",)
        case OptimumAnalysis(knob=name) | ContrastAnalysis(field=name) | GrowthAnalysis(over=name):
            return (name,)
        case _:
            return ()


def _check_swept(entry: Entry, analysis: Analysis, sweep: Sequence[Product]) -> None:
    """An answer about a field, knob or variable needs several values of it in the sweep."""
    for name in _swept(analysis):
        if not any(has_two(product, name) for product in sweep) and not differ(sweep, name):
            entry.fail(f"the answer is about {name}, so the sweep needs two or more values of it")
