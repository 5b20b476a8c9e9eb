"""The products of values that a study sweeps, read from YAML."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args, get_origin, get_type_hints

from attnbench.families import FAMILIES
from attnbench.options.kinds import Whole
from attnbench.options.option import table
from attnbench.reasons import first_line
from attnbench.specs.batch import BatchSpecError
from attnbench.specs.case import FLAT_FIELDS, Case, Value
from attnbench.specs.models import MODELS
from attnbench.specs.sweep import expand_sweep, expand_values
from attnbench.studies.yaml_entry import Entry

AUTO = "auto"  # a knob that is left to the backend
VARIABLES = ("batch_size", "q_len", "kv_len", "context")
# Names that options of some family set: fields of a case, and those that decide its shape.
_OPTIONS = {n: option for each in FAMILIES.values() for n, option in table(each.options).items()}
_OF_SHAPES = {name for name, option in _OPTIONS.items() if option.heading == "Shape"}
_NUMBERS = {name for name, option in _OPTIONS.items() if isinstance(option.kind, Whole)}
FIELDS = {*FLAT_FIELDS, *_OF_SHAPES} - {"family", "backend", "scope_version"}
# The words that a field of a case accepts.
_WORDS = {
    name: get_args(part)
    for name, kind in get_type_hints(Case).items()
    for part in (kind, *get_args(kind))
    if get_origin(part) is Literal
}
_NAME = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Product:
    """A product of values; keys that are not named keep their defaults."""

    backends: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()  # of batch specs, with {names} of variables
    variables: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    fields: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    knobs: Mapping[str, tuple[Value | None, ...]] = field(default_factory=dict)  # None is auto


def read_product(entry: Entry) -> Product:
    """The product of an entry; raises UsageError as `read_study` does."""
    known = {*FIELDS, "backend", "batch", "knobs", *VARIABLES}
    listed = entry.mapping()
    templates = listed["batch"].texts() if "batch" in listed else ()
    used = {name for template in templates for name in _NAME.findall(template)}
    entry.mapping(known | used)
    variables = {
        name: numbers(listed[name])
        for name in listed
        if name in used or (name in VARIABLES and name not in FIELDS)
    }
    product = Product(
        backends=listed["backend"].texts() if "backend" in listed else (),
        templates=templates or _default_template(variables),
        variables=variables,
        fields={
            name: field_values(name, listed[name])
            for name in listed
            if name in FIELDS and name not in variables
        },
        knobs=read_knobs(listed["knobs"]) if "knobs" in listed else {},
    )
    _check_templates(listed.get("batch", entry), product)
    return product


def _default_template(variables: Mapping[str, object]) -> tuple[str, ...]:
    """Equal requests of the given lengths."""
    if not variables:
        return ()
    count = "{batch_size}" if "batch_size" in variables else ""
    q_len = "{q_len}" if "q_len" in variables else "1"
    has_kv = {"kv_len", "context"} & variables.keys()
    return (f"{count}q{q_len}" + ("kv{kv_len}" if has_kv else ""),)


def _check_templates(entry: Entry, product: Product) -> None:
    """Every name in a template needs values, every variable a use; the rest must be readable."""
    names = {name for template in product.templates for name in _NAME.findall(template)}
    given = set(product.variables)
    if "context" in given:
        if "kv_len" in given:
            entry.fail("context and kv_len set the same length; leave one of them out")
        given = given - {"context"} | {"kv_len"}
    if missing := sorted(names - given):
        entry.fail(f"the template's {{{missing[0]}}} has no values; add e.g. {missing[0]}: [1, 2]")
    if unused := sorted(given - names):
        entry.fail(f"{unused[0]} would change nothing: no template holds {{{unused[0]}}}")
    for template in product.templates:
        # With lengths that suit every batch, only an unreadable template fails.
        probe = _NAME.sub(lambda n: "1m" if n[1] == "kv_len" else "1", template)
        try:
            expand_sweep(probe)
        except BatchSpecError as error:
            problem = first_line(error)
            if "is under q" not in problem:
                entry.fail(f"'{template}' is not a batch spec: {problem}")


def read_knobs(entry: Entry) -> dict[str, tuple[Value | None, ...]]:
    """The values of each knob, None for auto."""
    found: dict[str, tuple[Value | None, ...]] = {}
    for name, under in entry.mapping().items():
        values: list[Value | None] = []
        for item in under.items():
            text = item.text()
            values += [None] if text == AUTO else _knob_values(item)
        if len(set(values)) < len(values):
            under.fail("a value is repeated; leave one of them out")
        if values == [None]:
            under.fail(f"only {AUTO} is the backend's default anyway; add a value, e.g. 1")
        found[name] = tuple(values)
    return found


def _knob_values(entry: Entry) -> Sequence[Value]:
    text = entry.text()
    if text == "true":
        return [True]
    return numbers(entry) if re.match("[0-9]", text) else [text]


def field_values(name: str, entry: Entry) -> tuple[Value, ...]:
    """The values of a field of a case or its shape, of a model or of tp."""
    if name in _NUMBERS:
        return numbers(entry)
    texts = entry.texts()
    if name == "model":
        for text in texts:
            if text not in MODELS:
                known = ", ".join(MODELS)
                entry.fail(f"no model is called '{text}'; known are {known}")
        return texts
    return tuple(_field_value(name, item) for item in entry.items())


def _field_value(name: str, entry: Entry) -> Value:
    """A value that a case can have, or a choice that the family checks."""
    value = entry.value()
    if not isinstance(value, str | int | float):
        entry.fail(f"'{entry.text()}' is neither a text nor a number")
    accepted = _WORDS.get(name, ())
    if accepted and value not in accepted:
        entry.fail(f"no {name} is called '{entry.text()}'; known are {', '.join(accepted)}")
    if name == "sinks" and not isinstance(value, bool):
        entry.fail("expected true or false")
    if name == "softcap" and (isinstance(value, bool | str) or not 0 < value < math.inf):
        entry.fail("expected a number above 0, e.g. 30")
    return value


def numbers(entry: Entry) -> tuple[int, ...]:
    """Whole numbers from lists and ranges, without repetition."""
    values: list[int] = []
    for item in entry.items():
        try:
            values += expand_values(item.text())
        except BatchSpecError as error:
            item.fail(str(error))
    if len(set(values)) < len(values):
        entry.fail("a number is repeated; leave one of them out")
    return tuple(values)


def number(entry: Entry) -> int:
    """One whole number from 1."""
    values = numbers(entry)
    if len(values) != 1:
        entry.fail("expected one whole number from 1")
    return values[0]


def has_two(product: Product, name: str) -> bool:
    """Whether a product sweeps a field, knob or variable."""
    if name == "backend":
        return len(product.backends) != 1  # none named means all
    if not product.variables and name in VARIABLES:
        return True  # written out in the batch specs
    return len(_values(product, name)) > 1


def differ(sweep: Sequence[Product], name: str) -> bool:
    """Whether the products' values differ; a product without values is at the default."""
    return len({tuple(_values(product, name)) for product in sweep}) > 1


def _values(product: Product, name: str) -> Sequence[object]:
    named: dict[str, Sequence[object]] = {"backend": product.backends}
    return next(
        (
            of[name]
            for of in (product.knobs, product.fields, product.variables, named)
            if name in of
        ),
        (),
    )
