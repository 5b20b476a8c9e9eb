"""How far an output may be from the fp32 reference: per element, per row and in direction."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Tolerance:
    """All three must hold in every row.

    An element may be off by `element` of its own size plus as much of the row's root mean square:
    attention averages, so small elements carry the error of large ones.
    """

    element: float
    relative_l2: float  # of a row: |out - ref| / |ref|
    cosine: float  # of a row: 1 - cos(out, ref)

    def unfused(self) -> "Tolerance":
        """For what rounds the scores too, before the softmax: twice the room."""
        return Tolerance(2 * self.element, 2 * self.relative_l2, 4 * self.cosine)

    @property
    def exact(self) -> bool:
        """Nothing may differ: a copy."""
        return self.element == 0


EXACT = Tolerance(0.0, 0.0, 0.0)

# Eight, eleven and twenty-four bits of mantissa, with room for probabilities rounded to the same
# dtype before they meet the values.
BY_DTYPE = {
    "bf16": Tolerance(0.03, 1e-2, 1e-4),
    "fp16": Tolerance(0.006, 2e-3, 3e-6),
    "fp32": Tolerance(1e-3, 1e-4, 1e-7),
}


@dataclass(frozen=True, slots=True)
class Deviation:
    """The worst of the rows compared, and the sentence if it is too far."""

    max_abs: float
    relative_l2: float
    cosine: float
    fault: str | None

    def as_facts(self) -> dict[str, float]:
        """The figures by name."""
        return {"max_abs": self.max_abs, "relative_l2": self.relative_l2, "cosine": self.cosine}


def compare(output: "torch.Tensor", expected: "torch.Tensor", allowed: Tolerance) -> Deviation:
    """Compare [rows, width] with its fp32 reference; NaN passes nowhere."""
    import torch

    out, ref = output.double(), expected.double()
    error = (out - ref).abs()
    rms = ref.square().mean(dim=1, keepdim=True).sqrt()
    tiny = torch.finfo(torch.float64).tiny
    l2 = error.norm(dim=1) / ref.norm(dim=1).clamp_min(tiny)
    cosine = 1 - (out * ref).sum(1) / (out.norm(dim=1) * ref.norm(dim=1)).clamp_min(tiny)
    within = error <= allowed.element * (ref.abs() + rms)
    fault = None
    if not bool(within.all()):
        fault = _worst_element(error.masked_fill(within, -1), out, ref)
    elif not allowed.exact and not bool((l2 <= allowed.relative_l2).all()):
        fault = f"a row's relative L2 error is {_highest(l2):.2g}, {allowed.relative_l2:g} allowed"
    elif not allowed.exact and not bool((cosine <= allowed.cosine).all()):
        fault = f"a row's cosine distance is {_highest(cosine):.2g}, {allowed.cosine:g} allowed"
    return Deviation(_highest(error), _highest(l2), _highest(cosine), fault)


def _worst_element(excess: "torch.Tensor", out: "torch.Tensor", ref: "torch.Tensor") -> str:
    row, column = divmod(int(excess.nan_to_num(float("inf")).argmax()), out.shape[1])
    return (
        f"got {float(out[row, column]):.4g} where the reference has "
        f"{float(ref[row, column]):.4g} (sampled row {row}, element {column})"
    )


def _highest(values: "torch.Tensor") -> float:
    return float(values.nan_to_num(float("inf")).max())
