"""How far an output may be from the fp32 reference: by element, by row, and all rows together."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Limits that every row must keep, and two for all compared rows together.

    An element may be off by the fraction `element` of its own size plus the same fraction of the
    row's root mean square: attention averages, so small elements carry the error of large ones.
    """

    element: float
    relative_l2: float  # of a row: |out - ref| / |ref|
    cosine: float  # of a row: 1 - cos(out, ref)
    # By which the scales of rows may be off in the mean, where many rows may vanish.
    alike: float = field(default=0.0, kw_only=True)

    @property
    def pooled(self) -> float:
        """The relative L2 error allowed for all rows as one: half of a single row's.

        It varies little, so it shows errors in all rows that are too small for each.
        """
        return self.relative_l2 / 2

    def bias(self, rows: int) -> float:
        """How far the fitted scale <out, ref> / <ref, ref>, averaged over rows, may be from 1.

        A row errs by at most a third of `relative_l2`, to either side, and only a part of that lies
        along the row, so half of it over the root of their number is more than three standard
        deviations of the mean. A twelfth is left for what rounds all rows alike. In fp8 together
        less than 1 % from 256 rows on, in bf16 0.1 %. A row alone may be off by 0.58 of
        `relative_l2`: with e4m3 weights, of which the largest is exact, up to 4.7 % if all of four
        equal ones round as far as they can to one side, and of eight needles by 1 % as a rule.
        """
        return max(self.alike, self.relative_l2 * (0.5 / math.sqrt(rows) + 1 / 12))

    def slack(self, reference: "torch.Tensor") -> "torch.Tensor":
        """How far each element of [rows, width] may be off."""
        rms = reference.square().mean(dim=1, keepdim=True).sqrt()
        return self.element * (reference.abs() + rms)

    @property
    def elements_alone(self) -> bool:
        """Whether rows are not judged as a whole, as their elements were copied, not computed."""
        return self.relative_l2 == 0


# Bits of mantissa, the leading one included.
PRECISION = {"bf16": 8, "fp16": 11, "fp32": 24, "fp8": 4}
# Of NVFP4, root mean square over normal values: the steps of e2m1 depend on the largest of 16.
NVFP4_ERROR = 0.095
# Of fp32 sums over many keys and of exp2 as hardware approximates it, relative to the result.
ARITHMETIC = 2.0**-18
# Sums over more keys err more: the error of a running sum is a random walk. On a CPU it is 0.3 to
# 0.6 of what is expected then, from 16k to 128k keys.
MANY_KEYS = 2**14
# The score that carries a row of normal data: higher ones are too few, lower ones weigh too little.
LARGE_SCORE = 4.0
ROW = 3  # times its expected error is allowed of a row
# Of e4m3 below 2^-6. A kernel whose largest weight is 1 rounds small ones in such steps.
LEAST_STEP = 2.0**-9
# Of all rows, if the weights of some may all round to 0, as those of half of the heads may.
VANISHING = 0.9
# Beside those of attention: absorbed queries and attended latents, or up-projected keys and values,
# and the merge of a context's chunks.
MLA_ROUNDINGS = 3


def rounding_error(name: str) -> float:
    """The root mean square of the relative error of one rounding to nearest in this format.

    With p bits of mantissa, numbers x in [1, 2) lie 2^(1-p) apart, and errors are uniform within
    half of that: 2^(1-p) / sqrt(12) / x (Widrow and Kollar, Quantization Noise, ch. 12). Where the
    logarithm of x is uniform, the mean of 1/x^2 is 3 / (8 ln 2). bf16: 0.17 %, e4m3: 2.7 %.
    """
    if name == "nvfp4":
        return NVFP4_ERROR
    return float(2.0 ** (1 - PRECISION[name]) * math.sqrt(3 / (8 * math.log(2)) / 12))


def attention(
    dtype: str,
    *,
    weights: str | None = None,
    output: str | None = None,
    more: int = 0,
    scores: float = 0.0,
    small: float = 0.0,
    keys: int = 0,
) -> Tolerance:
    """The tolerance of an honest kernel: fp32 sums, and each of these rounded once.

    It rounds the softmax's `weights`, the partial results of splits, and the `output`: to `dtype`
    unless another format is named. `more` counts further roundings to `dtype`. A kernel that rounds
    scores too, before the softmax, names the largest of the `scores` that matter. Weights too small
    for their format move a row by `small`, relative to its size.

    A row is a sum of w_i v_i. With rounded weights it is a sum of w_i (1 + e_i) v_i, which over
    values of random sign errs by the root mean square of e, relative to the row, however many keys
    there are. Rounding partial results or outputs does the same, and independent errors add as
    squares (Higham, Accuracy and Stability of Numerical Algorithms, 2.8). A rounded score s changes
    its weight by the score's absolute error, |s| times a rounding error.

    Of a row three times that is allowed: in 128 dimensions the worst of thousands of rows errs by
    1.3 times as much, and by 1.5 where a few keys have all the weight. Within a row, errors of the
    sum are normal, so the worst of 10^6 elements is 4.9 standard deviations off: eight are allowed.
    Rounding the output is off by at most 2.4 of its own: four are allowed. An error at right angles
    to the row, of the length e that is allowed, turns it by e^2 / 2. All rows together err by no
    more than expected, less where few keys have all the weight: 1.5 times it is allowed.
    """
    last = rounding_error(output or dtype)
    squares = rounding_error(weights or dtype) ** 2 + ARITHMETIC**2 * max(1.0, keys / MANY_KEYS)
    squares += (1 + more + scores**2) * rounding_error(dtype) ** 2 + small**2
    row = ROW * math.sqrt(squares + last**2)
    alike = VANISHING if small >= 1 else 0.0
    return Tolerance(8 * math.sqrt(squares) + 4 * last, row, row**2 / 2, alike=alike)


def too_small(largest: float, spread: float) -> float:
    """How far a row is off, relative to its size, if weights in e4m3 have 1 as their largest.

    `largest` is its score, `spread` the variance of the others' scores. Small weights are multiples
    of 2^-9, so each of n is off by a root mean square of 2^-9 / sqrt(12), while their squares, by
    which the size of a row goes, sum to n exp(2 spread - 2 largest).
    """
    return min(1.0, LEAST_STEP / math.sqrt(12) * math.exp(largest - spread))


EXACT = Tolerance(0.0, 0.0, 0.0)
BY_DTYPE = {dtype: attention(dtype) for dtype in ("bf16", "fp16", "fp32")}
