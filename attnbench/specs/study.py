"""Studies: a question, the sweep that tells, and how the answer is found; read from YAML.

    question: Is HND worth it?
    family: cache-write
    rounds: 3
    answer: {contrast: {field: layout, pairs: [[NHD, HND]]}}
    sweep:
      - backend: [cuda, triton]
        layout: [NHD, HND]
        batch_size: 1
        q_len: 1..64k:x4

A segment of the sweep is a product over its keys: fields of a case or its shape, `model`, `tp`,
`knobs`, and variables that fill the templates under `batch`. Numbers are lists, ranges such as
1..16:5 or 1k..32k:x2, or both. kv_len may be given as `context`, what stood in the cache before.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from attnbench.errors import UsageError
from attnbench.specs.answer import Answer, read_answer
from attnbench.specs.batch import BatchSpecError
from attnbench.specs.case import Case, Value
from attnbench.specs.shape import ATTN_MODELS, MLA_MODELS, AttnShape, MlaShape
from attnbench.specs.sweep import expand_sweep, expand_values
from attnbench.specs.yaml_entry import Entry, read_yaml

AUTO = "auto"  # a knob that is left to the backend
_VARIABLES = ("batch_size", "q_len", "kv_len", "context")
_SHAPE_FIELDS = {f.name for kind in (AttnShape, MlaShape) for f in fields(kind)}
_NUMBERS = _SHAPE_FIELDS | {"tp", "block_size", "window", "index_topk"}
_CASE_FIELDS = {f.name for f in fields(Case)} - {"family", "backend", "batch", "shape", "knobs"}
FIELDS = _CASE_FIELDS | _SHAPE_FIELDS | {"model", "tp"}
_NAME = re.compile(r"\{([a-z_]+)\}")
_STUDY_KEYS = ("question", "aliases", "family", "rounds", "limits", "answer", "sweep", "exhaustive")


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest batches that are asked for; larger ones are left out, and counted."""

    new_tokens: int | None = None  # of all requests together
    kv_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A product of values; what a key does not name is left to its default."""

    backends: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()  # of batch specs, with {names} of variables
    variables: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    fields: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    knobs: Mapping[str, tuple[Value | None, ...]] = field(default_factory=dict)  # None is auto


@dataclass(frozen=True, slots=True)
class Study:
    """What a file says; `exhaustive` holds the keys of all segments that --exhaustive widens."""

    name: str
    text: str  # of the file
    question: str
    family: str
    answer: Answer
    sweep: tuple[Segment, ...]
    aliases: tuple[str, ...] = ()
    rounds: int | None = None
    limits: Limits = Limits()
    exhaustive: tuple[Segment, ...] = ()
    exhaustive_limits: Limits = Limits()


def read_study(text: str, name: str, file: str, families: Collection[str]) -> Study:
    """The study that a file's text describes.

    UsageError, with file, line and key, for what cannot be read, for an unknown key, and for what
    would change nothing: a value that stands twice, a variable that no template uses, an answer
    about what is not swept.
    """
    top = read_yaml(text, file)
    keys = top.mapping(_STUDY_KEYS)
    for needed in ("question", "family", "answer", "sweep"):
        if needed not in keys:
            top.fail(f"the key {needed} is missing")
    family = keys["family"].text()
    if family not in families:
        keys["family"].fail(f"no family is called '{family}'; known are {', '.join(families)}")
    sweep = tuple(_read_segment(item) for item in keys["sweep"].items())
    answer = read_answer(keys["answer"])
    _check_swept(keys["answer"], answer.swept, sweep)
    wide = _read_exhaustive(keys["exhaustive"], sweep) if "exhaustive" in keys else (sweep, None)
    limits = _read_limits(keys.get("limits"))
    return Study(
        name=name,
        text=text,
        question=" ".join(keys["question"].text().split()),
        family=family,
        answer=answer,
        sweep=sweep,
        aliases=keys["aliases"].texts() if "aliases" in keys else (),
        rounds=_number(keys["rounds"]) if "rounds" in keys else None,
        limits=limits,
        exhaustive=wide[0],
        exhaustive_limits=wide[1] or limits,
    )


def _read_segment(entry: Entry) -> Segment:
    known = {*FIELDS, "backend", "batch", "knobs", *_VARIABLES}
    listed = entry.mapping()
    templates = listed["batch"].texts() if "batch" in listed else ()
    used = {name for template in templates for name in _NAME.findall(template)}
    entry.mapping(known | used)
    variables = {
        name: _numbers(listed[name])
        for name in listed
        if name in used or (name in _VARIABLES and name not in FIELDS)
    }
    segment = Segment(
        backends=listed["backend"].texts() if "backend" in listed else (),
        templates=templates or _default_template(variables),
        variables=variables,
        fields={
            name: _field_values(name, listed[name])
            for name in listed
            if name in FIELDS and name not in variables
        },
        knobs=_read_knobs(listed["knobs"]) if "knobs" in listed else {},
    )
    _check_templates(listed.get("batch", entry), segment)
    return segment


def _default_template(variables: Mapping[str, object]) -> tuple[str, ...]:
    """Equal requests of the lengths that are given."""
    if not variables:
        return ()
    count = "{batch_size}" if "batch_size" in variables else ""
    q_len = "{q_len}" if "q_len" in variables else "1"
    has_kv = {"kv_len", "context"} & variables.keys()
    return (f"{count}q{q_len}" + ("kv{kv_len}" if has_kv else ""),)


def _check_templates(entry: Entry, segment: Segment) -> None:
    """Every name of a template has values, every variable a use, and the rest can be read."""
    names = {name for template in segment.templates for name in _NAME.findall(template)}
    given = set(segment.variables)
    if "context" in given:
        if "kv_len" in given:
            entry.fail("context and kv_len say the same twice; leave one of them out")
        given = given - {"context"} | {"kv_len"}
    if missing := sorted(names - given):
        entry.fail(f"the template's {{{missing[0]}}} has no values; add e.g. {missing[0]}: [1, 2]")
    if unused := sorted(given - names):
        entry.fail(f"{unused[0]} would change nothing: no template holds {{{unused[0]}}}")
    for template in segment.templates:
        # Lengths that make a batch wherever the text is one: what fails now is not readable.
        probe = _NAME.sub(lambda n: "1m" if n[1] == "kv_len" else "1", template)
        try:
            expand_sweep(probe)
        except BatchSpecError as error:
            problem = str(error).splitlines()[0]
            if "is under q" not in problem:
                entry.fail(f"'{template}' is no batch spec: {problem}")


def _read_knobs(entry: Entry) -> dict[str, tuple[Value | None, ...]]:
    found: dict[str, tuple[Value | None, ...]] = {}
    for name, under in entry.mapping().items():
        values: list[Value | None] = []
        for item in under.items():
            text = item.text()
            values += [None] if text == AUTO else _knob_values(text)
        if len(set(values)) < len(values):
            under.fail("a value stands twice, which would measure nothing new")
        if values == [None]:
            under.fail(f"only {AUTO} is what the backend does anyway; add a value, e.g. 1")
        found[name] = tuple(values)
    return found


def _knob_values(text: str) -> Sequence[Value]:
    return expand_values(text) if re.match("[0-9]", text) else [text]


def _field_values(name: str, entry: Entry) -> tuple[Value, ...]:
    if name in _NUMBERS:
        return _numbers(entry)
    texts = entry.texts()
    if name == "model":
        for text in texts:
            if text not in ATTN_MODELS | MLA_MODELS:
                known = ", ".join(ATTN_MODELS | MLA_MODELS)
                entry.fail(f"no model is called '{text}'; known are {known}")
        return texts
    return tuple(item.value() for item in entry.items())


def _numbers(entry: Entry) -> tuple[int, ...]:
    """Whole numbers from lists and ranges; none twice."""
    values: list[int] = []
    for item in entry.items():
        try:
            values += expand_values(item.text())
        except BatchSpecError as error:
            item.fail(str(error))
    if len(set(values)) < len(values):
        entry.fail("a number stands twice, which would measure nothing new")
    return tuple(values)


def _number(entry: Entry) -> int:
    values = _numbers(entry)
    if len(values) != 1:
        entry.fail("expected one whole number from 1")
    return values[0]


def _read_limits(entry: Entry | None) -> Limits:
    if entry is None:
        return Limits()
    known = [f.name for f in fields(Limits)]
    return Limits(**{name: _number(each) for name, each in entry.mapping(known).items()})


def _read_exhaustive(
    entry: Entry, sweep: Sequence[Segment]
) -> tuple[tuple[Segment, ...], Limits | None]:
    """All segments with the values that stand here in place of their own."""
    names = {"limits", "knobs", "backend", *(n for s in sweep for n in (*s.variables, *s.fields))}
    keys = entry.mapping(names)
    limits = _read_limits(keys.pop("limits")) if "limits" in keys else None
    knobs = _read_knobs(keys.pop("knobs")) if "knobs" in keys else {}
    wide = []
    for segment in sweep:
        values: dict[str, Any] = {
            "variables": dict(segment.variables)
            | {n: _numbers(e) for n, e in keys.items() if n in segment.variables},
            "fields": dict(segment.fields)
            | {n: _field_values(n, e) for n, e in keys.items() if n in segment.fields},
            "knobs": dict(segment.knobs) | {n: v for n, v in knobs.items() if n in segment.knobs},
        }
        backends = keys["backend"].texts() if "backend" in keys else segment.backends
        wide.append(Segment(backends, segment.templates, **values))
    return tuple(wide), limits


def _check_swept(entry: Entry, names: Collection[str], sweep: Sequence[Segment]) -> None:
    """An answer about a field, knob or variable needs it in the sweep, with several values."""
    for name in names:
        if not any(_has_two(segment, name) for segment in sweep) and not _differs(sweep, name):
            entry.fail(f"the answer is about {name}, and the sweep has no two values of it")


def _has_two(segment: Segment, name: str) -> bool:
    if name == "backend":
        return len(segment.backends) != 1  # none named is all
    if not segment.variables and name in _VARIABLES:
        return True  # written out in the batch specs
    return len(_values(segment, name)) > 1


def _differs(sweep: Sequence[Segment], name: str) -> bool:
    """Whether segments have unlike values; one that has none is at the default."""
    return len({tuple(_values(segment, name)) for segment in sweep}) > 1


def _values(segment: Segment, name: str) -> Sequence[object]:
    named: dict[str, Sequence[object]] = {"backend": segment.backends}
    return next(
        (
            of[name]
            for of in (segment.knobs, segment.fields, segment.variables, named)
            if name in of
        ),
        (),
    )


def require_known(name: str, known: Collection[str]) -> None:
    """UsageError for a study that nobody knows."""
    if name not in known:
        raise UsageError(
            f"no study and no file is called '{name}'; known are {', '.join(known)}, "
            "e.g. attnbench study numsplits"
        )
