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

    def slack(self, reference: "torch.Tensor") -> "torch.Tensor":
        """How far each element of [rows, width] may be off."""
        rms = reference.square().mean(dim=1, keepdim=True).sqrt()
        return self.element * (reference.abs() + rms)

    def plus(self, more: "Tolerance") -> "Tolerance":
        """For what errs in both ways."""
        return Tolerance(
            self.element + more.element,
            self.relative_l2 + more.relative_l2,
            self.cosine + more.cosine,
        )

    @property
    def elements_alone(self) -> bool:
        """No row is judged as a whole: its elements were copied, not computed from each other."""
        return self.relative_l2 == 0


EXACT = Tolerance(0.0, 0.0, 0.0)

# Eight, eleven and twenty-four bits of mantissa, with room for probabilities rounded to the same
# dtype before they meet the values.
BY_DTYPE = {
    "bf16": Tolerance(0.03, 1e-2, 1e-4),
    "fp16": Tolerance(0.006, 2e-3, 3e-6),
    "fp32": Tolerance(1e-3, 1e-4, 1e-7),
}
# What is added where q and KV are e4m3: the kernels round the probabilities to its three bits of
# mantissa too, each by at most 6 % and 2.6 % root mean square. A row of few keys gets nearly all of
# that; of many keys, elements are off by 2.6 % of the row's size, and over thousands by 4.5 sigma.
FP8_PROBABILITIES = Tolerance(0.15, 0.07, 3e-3)
# What is added where the output is rounded once more. e4m3: by 6 % of an element at most, 2.6 %
# root mean square. NVFP4: near the largest of 16 elements e2m1 has steps of a third of it, so that
# elements of up to four times the row's size are off by two thirds of that size at most, and rows
# by a tenth.
BY_OUTPUT = {"fp8": Tolerance(0.07, 0.04, 1e-3), "nvfp4": Tolerance(0.25, 0.15, 0.015)}


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


def figures(output: "torch.Tensor", expected: "torch.Tensor", allowed: Tolerance) -> "torch.Tensor":
    """How far [rows, width] is from its reference, fp64 [4], left on the device.

    The largest error, its largest excess over what its element allows (NaN and infinity are
    infinite), and the rows' largest relative L2 error and cosine distance.
    """
    import torch

    out, ref = output.double(), expected.double()
    error, tiny = (out - ref).abs(), torch.finfo(torch.float64).tiny
    l2 = error.norm(dim=1) / ref.norm(dim=1).clamp_min(tiny)
    cosine = 1 - (out * ref).sum(1) / (out.norm(dim=1) * ref.norm(dim=1)).clamp_min(tiny)
    cosine = cosine.masked_fill((ref == 0).all(1), 0.0)  # zero has no direction
    excess = error - allowed.slack(ref)
    worst = [each.nan_to_num(float("inf")).max() for each in (error, excess, l2, cosine)]
    return torch.stack(worst)


def within(worst: "list[float]", allowed: Tolerance) -> bool:
    """Whether those figures are allowed."""
    _, excess, l2, cosine = worst
    near = allowed.elements_alone or (l2 <= allowed.relative_l2 and cosine <= allowed.cosine)
    return excess <= 0 and near


def compare(output: "torch.Tensor", expected: "torch.Tensor", allowed: Tolerance) -> Deviation:
    """Compare [rows, width] with its fp32 reference; NaN passes nowhere."""
    worst = figures(output, expected, allowed).tolist()
    fault = None if within(worst, allowed) else _fault(output, expected, worst, allowed)
    return Deviation(worst[0], worst[2], worst[3], fault)


def _fault(
    output: "torch.Tensor", expected: "torch.Tensor", worst: list[float], allowed: Tolerance
) -> str:
    _, excess, l2, cosine = worst
    if excess > 0:
        return _worst_element(output.double(), expected.double(), allowed)
    if l2 > allowed.relative_l2:
        return f"a row's relative L2 error is {l2:.2g}, {allowed.relative_l2:g} allowed"
    return f"a row's cosine distance is {cosine:.2g}, {allowed.cosine:g} allowed"


def _worst_element(out: "torch.Tensor", ref: "torch.Tensor", allowed: Tolerance) -> str:
    slack = allowed.slack(ref)
    excess = ((out - ref).abs() - slack).nan_to_num(float("inf"))
    at = divmod(int(excess.argmax()), out.shape[1])
    return (
        f"got {float(out[at]):.4g} where the reference has {float(ref[at]):.4g} and "
        f"{float(slack[at]):.2g} is allowed (sampled row {at[0]}, element {at[1]})"
    )
