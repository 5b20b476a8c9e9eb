"""How far compared rows are from their fp32 reference, held against a tolerance."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np

from attnbench.kernels.tolerance import Tolerance

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

WIDE = 32  # elements: of 10^6 honest rows, none errs by more than 2.5 times the mean
TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, slots=True)
class Deviation:
    """The worst of the compared rows, and a sentence if it is too far off."""

    max_abs: float
    relative_l2: float
    cosine: float
    share: float  # of what is allowed: the largest of any error over its tolerance
    fault: str | None

    def as_facts(self) -> dict[str, float]:
        """The figures by name, as they are stored."""
        return {"max_abs": self.max_abs, "relative_l2": self.relative_l2, "cosine": self.cosine}


@dataclass(frozen=True, slots=True)
class Figures:
    """Errors of rows; infinite for NaN and infinity."""

    rows: int
    max_abs: float
    ratio: float  # the largest of an error to what its element is allowed
    relative_l2: float  # the largest of a row
    cosine: float  # the largest distance of a row
    scale: float  # the largest distance from 1 of a row's fitted scale, <out, ref> / <ref, ref>
    pooled: float  # the relative L2 error of all rows, each divided by its size
    bias: float  # the distance from 1 of the mean scale

    @classmethod
    def of(cls, out: "torch.Tensor", ref: "torch.Tensor", allowed: Tolerance) -> Self:
        """Those of fp64 [rows, width]; one transfer has all that the host needs."""
        import torch
        from torch.linalg import vecdot

        products = [vecdot(out, out), vecdot(out, ref), vecdot(ref, ref)]
        error = (out - ref).abs()
        ratio = (error / allowed.slack(ref).clamp_min(TINY)).amax()
        found = torch.cat([*products, torch.stack([error.amax(), ratio])]).cpu().numpy()
        with np.errstate(all="ignore"):
            figures = [*found[-2:], *_of_rows(*np.split(found[:-2], 3))]
        return cls(len(out), *(float(x) if math.isfinite(x) else math.inf for x in figures))

    def share(self, allowed: Tolerance) -> float:
        """The largest of them over its tolerance."""
        if allowed.elements_alone:
            return self.ratio
        # The distance grows as the square of the error, and rounds to less than 0.
        turned = math.sqrt(max(0.0, self.cosine / allowed.cosine))
        by_row = self.relative_l2 / allowed.relative_l2, turned, self.scale / allowed.bias(1)
        together = self.pooled / allowed.pooled, self.bias / allowed.bias(self.rows)
        return max(self.ratio, *by_row, *together)

    def fault(self, allowed: Tolerance) -> str:
        """The first that is too large, of those that are not of one element."""
        if self.relative_l2 > allowed.relative_l2:
            return _too_large("a row's relative L2 error is", self.relative_l2, allowed.relative_l2)
        if self.scale > allowed.bias(1):
            return _too_large("a row's scale is off by", self.scale, allowed.bias(1))
        if self.pooled > allowed.pooled:
            of_all = f"the relative L2 error of {self.rows} rows together is"
            return _too_large(of_all, self.pooled, allowed.pooled)
        if self.bias > (most := allowed.bias(self.rows)):
            return (
                f"{self.rows} rows are off by {self.bias:.2g} in scale, all in one direction; "
                f"{most:.2g} is allowed"
            )
        return _too_large("a row's cosine distance is", self.cosine, allowed.cosine)


def _of_rows(
    out: "NDArray[np.float64]", both: "NDArray[np.float64]", ref: "NDArray[np.float64]"
) -> tuple[float, ...]:
    """The figures from relative L2 error on, of <out, out>, <out, ref> and <ref, ref> by row."""
    some = ref > 0  # zero has neither scale nor direction
    errors = np.sqrt(np.maximum(out - 2 * both + ref, 0)) / np.maximum(np.sqrt(ref), TINY)
    cosines = np.where(some, 1 - both / np.maximum(np.sqrt(out * ref), TINY), 0)
    scales = np.where(some, both / np.maximum(ref, TINY) - 1, 0)
    together = np.sqrt(np.mean(errors**2)), abs(scales.mean())
    return errors.max(), cosines.max(), abs(scales).max(), *together


def _too_large(what: str, found: float, allowed: float) -> str:
    return f"{what} {found:.2g}; {allowed:.2g} is allowed"


def compare(
    output: "torch.Tensor",
    expected: "torch.Tensor",
    allowed: Tolerance,
    place: Callable[[int], str] = "row {}".format,
) -> Deviation:
    """Compare [rows, width] with its fp32 reference; NaN never passes. `place` names a row."""
    out, ref = output.double(), expected.double()
    if 0 < allowed.relative_l2 < math.inf:  # rows are judged as a whole
        out, ref = wide(out), wide(ref)
    found = Figures.of(out, ref, allowed)
    share, fault = found.share(allowed), None
    if share > 1:
        one = found.ratio > 1
        where = partial(_named, expected.shape, place)
        fault = _worst_element(out, ref, allowed, where) if one else found.fault(allowed)
    return Deviation(found.max_abs, found.relative_l2, found.cosine, share, fault)


def wide(rows: "torch.Tensor") -> "torch.Tensor":
    """Neighbouring rows as one where each has fewer than WIDE elements; some may be there twice.

    A short row may be near 0 by chance, so an honest error may be large beside it.
    """
    import torch

    count, width = rows.shape
    if width >= WIDE:
        return rows
    each = -(-WIDE // width)
    taken = torch.arange(-(-count // each) * each, device=rows.device) % count
    return rows[taken].view(-1, each * width)


def _named(shape: "torch.Size", place: Callable[[int], str], at: int) -> str:
    """The place of an element by its number in all rows of this shape."""
    row, element = divmod(at, shape[1])
    return f"{place(row % shape[0])}, element {element}"


def _worst_element(
    out: "torch.Tensor", ref: "torch.Tensor", allowed: Tolerance, where: Callable[[int], str]
) -> str:
    slack = allowed.slack(ref)
    at = int(((out - ref).abs() - slack).nan_to_num(float("inf")).argmax())
    got, right, most = (float(each.flatten()[at]) for each in (out, ref, slack))
    return (
        f"got {got:.4g} where the reference has {right:.4g} and {most:.2g} is allowed ({where(at)})"
    )
