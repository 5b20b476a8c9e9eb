"""The analysis of a trace's batches, each with the steps for which it stands."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from attnbench.reasons import first_line
from attnbench.specs.batch import BatchSpecError, parse_batch_spec
from attnbench.specs.case import content_hash
from attnbench.studies.product import Product
from attnbench.studies.yaml_entry import Entry
from attnbench.traffic.reduction import STEP_KINDS, StepKind

_TOP = ("trace", "layers", "tokens", "counted", "requests", "loss", "margin", "batches")
N = TypeVar("N", int, float)


@dataclass(frozen=True, slots=True)
class Stratum:
    """Steps of one kind, and the batch that stands for them."""

    batch: str  # in execution order
    kind: StepKind
    steps: int


@dataclass(frozen=True, slots=True)
class TrafficAnalysis:
    """Attention time of all steps of a trace, by its batches' times and weights."""

    trace: str  # the file's name
    layers: int  # of the model
    tokens: int  # of the trace, of the kind `counted`
    counted: str  # output tokens, or new tokens where the outputs are unknown
    requests: int  # 0 if unknown
    loss: float  # by rooflines, what the weighted sum is off the time of all steps
    margin: float  # within which 95 % of randomly drawn batches would be
    strata: tuple[Stratum, ...]
    gpu: str | None = None  # of the server whose steps these are

    @property
    def digest(self) -> str:
        """A text that tells these batches and weights from others."""
        listed = {f"{at}": f"{each.steps} {each.batch}" for at, each in enumerate(self.strata)}
        return f"{len(self.strata)} batches, {content_hash(dict(listed))[:8]}"

    def with_batches(self, entry: Entry, sweep: Sequence[Product]) -> tuple[Product, ...]:
        """The sweep over these batches; UsageError if it has others."""
        if any(product.templates for product in sweep):
            entry.fail("the batches are those of the answer; leave batches and lengths out")
        batches = tuple(dict.fromkeys(each.batch for each in self.strata))
        return tuple(replace(product, templates=batches) for product in sweep)


def read_traffic(entry: Entry) -> TrafficAnalysis:
    """The analysis of an entry that `attnbench traffic --study` has written."""
    keys = entry.mapping((*_TOP, "gpu"))
    for needed in _TOP:
        if needed not in keys:
            entry.fail(f"the key {needed} is missing; attnbench traffic --study writes them all")
    return TrafficAnalysis(
        trace=keys["trace"].text(),
        layers=_number(keys["layers"], int, 1),
        tokens=_number(keys["tokens"], int, 1),
        counted=keys["counted"].text(),
        requests=_number(keys["requests"], int, 0),
        loss=_number(keys["loss"], float, -1.0),
        margin=_number(keys["margin"], float, 0.0),
        strata=tuple(
            _stratum(each.mapping(("kind", "steps", "batch")), each)
            for each in keys["batches"].items()
        ),
        gpu=keys["gpu"].text() if "gpu" in keys else None,
    )


def _stratum(keys: Mapping[str, Entry], entry: Entry) -> Stratum:
    for needed in ("kind", "steps", "batch"):
        if needed not in keys:
            entry.fail(f"the key {needed} of a batch is missing")
    kind = next((each for each in STEP_KINDS if each == keys["kind"].text()), None)
    if kind is None:
        keys["kind"].fail(f"'{keys['kind'].text()}' is none of {', '.join(STEP_KINDS)}")
    try:
        batch = parse_batch_spec(keys["batch"].text())
    except BatchSpecError as error:
        keys["batch"].fail(first_line(error))
    return Stratum(str(batch.in_execution_order()), kind, _number(keys["steps"], int, 1))


def _number(entry: Entry, kind: type[N], least: N) -> N:
    value = entry.value()
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value < math.inf or kind(value) != value:
        whole = "whole number" if kind is int else "number"
        entry.fail(f"expected a {whole} from {least}, read '{entry.text()}'")
    return kind(value)
