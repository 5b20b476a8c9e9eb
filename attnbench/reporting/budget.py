"""What part of the time between two tokens the calls of all layers of a model take."""

from collections.abc import Sequence
from dataclasses import dataclass

from attnbench.errors import UsageError
from attnbench.reporting.text_table import Column
from attnbench.specs.shape import MODEL_LAYERS
from attnbench.units import percent_column, seconds_column


@dataclass(frozen=True, slots=True)
class Budget:
    """The seconds between two tokens, and the layers that each make one call in them."""

    model: str
    layers: int
    seconds: float

    def column(self, times: Sequence[float | None]) -> Column:
        """The share of each call's time, in percent."""
        shares = [None if time is None else time * self.layers / self.seconds for time in times]
        unit, texts = percent_column(shares)
        return Column(f"of ITL\n{unit}", texts)

    @property
    def note(self) -> str:
        """What the column means."""
        unit, (text,) = seconds_column([self.seconds])
        return (
            f"of ITL: {self.layers} layers ({self.model}), one call each, over an inter-token "
            f"latency of {text} {unit}"
        )


def budget_of(model: str | None, seconds: float | None) -> Budget | None:
    """The budget of a model's layers; None where no latency is given.

    Raises UsageError where no model is.
    """
    if seconds is None:
        return None
    if model is None:
        raise UsageError(
            "--itl needs to know how many layers write; name their model, "
            "e.g. --itl 10ms --model llama3-8b"
        )
    return Budget(model, MODEL_LAYERS[model], seconds)
