"""Budgets: the time between two tokens, shared by the calls of all layers of a model."""

import re
from dataclasses import dataclass

from attnbench.errors import UsageError
from attnbench.specs.models import MODELS


@dataclass(frozen=True, slots=True)
class Budget:
    """Seconds between two tokens, in which each layer makes one call."""

    model: str
    layers: int
    seconds: float


def budget_of(model: str | None, seconds: float | None) -> Budget | None:
    """The budget of a model's layers; None without `seconds`.

    Raises UsageError for seconds without a model.
    """
    if seconds is None:
        return None
    if model is None:
        raise UsageError(
            "--itl needs the number of layers that write; name their model, "
            "e.g. --itl 10ms --model llama3-8b"
        )
    return Budget(model, MODELS[model].layers, seconds)


def duration(text: str) -> float:
    """Seconds from a number with its unit, such as 10ms, 500us or 0.5s."""
    sizes = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
    found = re.fullmatch(r"([0-9]*\.?[0-9]+) ?(us|ms|s)", text)
    if found is None or float(found[1]) == 0:
        raise UsageError(
            f"'{text}' is not a duration; expected a positive number with us, ms or s, e.g. 10ms"
        )
    return float(found[1]) * sizes[found[2]]
