"""How far an output may be from the fp32 reference: by element, by row and in direction."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Three limits; every row must keep all of them.

    An element may be off by the fraction `element` of its own size plus the same fraction of the
    row's root mean square: attention averages, so small elements carry the error of large ones.
    """

    element: float
    relative_l2: float  # of a row: |out - ref| / |ref|
    cosine: float  # of a row: 1 - cos(out, ref)

    def unfused(self) -> "Tolerance":
        """For kernels that also round the scores before the softmax: twice as wide."""
        return Tolerance(2 * self.element, 2 * self.relative_l2, 4 * self.cosine)

    def slack(self, reference: "torch.Tensor") -> "torch.Tensor":
        """How far each element of [rows, width] may be off."""
        rms = reference.square().mean(dim=1, keepdim=True).sqrt()
        return self.element * (reference.abs() + rms)

    def plus(self, more: "Tolerance") -> "Tolerance":
        """For kernels with both sources of error."""
        return Tolerance(
            self.element + more.element,
            self.relative_l2 + more.relative_l2,
            self.cosine + more.cosine,
        )

    @property
    def elements_alone(self) -> bool:
        """Whether rows are not judged as a whole, as their elements were copied, not computed."""
        return self.relative_l2 == 0


EXACT = Tolerance(0.0, 0.0, 0.0)

# Eight, eleven and twenty-four bits of mantissa, with room for probabilities rounded to the same
# dtype before they meet the values.
BY_DTYPE = {
    "bf16": Tolerance(0.03, 1e-2, 1e-4),
    "fp16": Tolerance(0.006, 2e-3, 3e-6),
    "fp32": Tolerance(1e-3, 1e-4, 1e-7),
}
# Added where q and KV are e4m3: the kernels round the probabilities to its three bits of mantissa
# too, each by at most 6 % and by 2.6 % root mean square. A row of few keys gets nearly all of that;
# in a row of many keys, elements are off by 2.6 % of the row's size, the worst of thousands by 4.5
# sigma.
FP8_PROBABILITIES = Tolerance(0.15, 0.07, 3e-3)
# Added where the output is rounded once more. e4m3: by at most 6 % of an element, 2.6 % root mean
# square. NVFP4: near the largest of 16 elements the steps of e2m1 are a third of it, so elements of
# up to four times the row's size are off by at most two thirds of that size, and rows by a tenth.
BY_OUTPUT = {"fp8": Tolerance(0.07, 0.04, 1e-3), "nvfp4": Tolerance(0.25, 0.15, 0.015)}


@dataclass(frozen=True, slots=True)
class Deviation:
    """The worst of the compared rows, and a sentence if it is too far off."""

    max_abs: float
    relative_l2: float
    cosine: float
    fault: str | None

    def as_facts(self) -> dict[str, float]:
        """The figures by name, as they are stored."""
        return {"max_abs": self.max_abs, "relative_l2": self.relative_l2, "cosine": self.cosine}


def figures(output: "torch.Tensor", expected: "torch.Tensor", allowed: Tolerance) -> "torch.Tensor":
    """How far [rows, width] is from its reference: fp64 [4], left on the device.

    The largest error, the largest excess of an error over its element's allowance (NaN and infinity
    count as infinite), and the rows' largest relative L2 error and cosine distance.
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
    """Whether these figures are within the tolerance."""
    _, excess, l2, cosine = worst
    near = allowed.elements_alone or (l2 <= allowed.relative_l2 and cosine <= allowed.cosine)
    return excess <= 0 and near


def compare(output: "torch.Tensor", expected: "torch.Tensor", allowed: Tolerance) -> Deviation:
    """Compare [rows, width] with its fp32 reference; NaN never passes."""
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
        return f"a row's relative L2 error is {l2:.2g}; {allowed.relative_l2:g} is allowed"
    return f"a row's cosine distance is {cosine:.2g}; {allowed.cosine:g} is allowed"


def _worst_element(out: "torch.Tensor", ref: "torch.Tensor", allowed: Tolerance) -> str:
    slack = allowed.slack(ref)
    excess = ((out - ref).abs() - slack).nan_to_num(float("inf"))
    at = divmod(int(excess.argmax()), out.shape[1])
    return (
        f"got {float(out[at]):.4g} where the reference has {float(ref[at]):.4g} and "
        f"{float(slack[at]):.2g} is allowed (sampled row {at[0]}, element {at[1]})"
    )
