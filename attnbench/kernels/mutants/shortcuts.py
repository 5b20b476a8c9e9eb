"""Faults of kernels that take shortcuts: cheaper arithmetic in the softmax, and keys skipped."""

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from attnbench.kernels.arithmetic import attend
from attnbench.kernels.mutants.arithmetic import computed_with
from attnbench.kernels.mutants.fault import Fault, Plant, over_bf16
from attnbench.kernels.mutants.keys import PAGE, TILE

if TYPE_CHECKING:
    import torch

# Weights [..., k], before they are divided by their sum, from scores [..., k], of which hidden ones
# are -inf, and the largest of each row, [..., 1].
Weigh = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]


def weighing(weigh: Weigh) -> Plant:
    """A kernel with another softmax."""

    def softmax(scores: "torch.Tensor", sinks: "torch.Tensor | None") -> "torch.Tensor":
        most = scores.amax(-1, keepdim=True)
        weights = weigh(scores, most)
        total = weights.sum(-1, keepdim=True)
        if sinks is not None:
            total = total + (sinks.float()[..., None] - most).exp()
        return weights / total

    def alter(prepared: Any) -> None:
        prepared.attend = partial(attend, softmax=softmax)

    return computed_with(alter)


def rounded_scores(scores: "torch.Tensor", most: "torch.Tensor") -> "torch.Tensor":
    """Of scores in bf16."""
    return (scores.bfloat16().float() - most).exp()


def rounded_weights(scores: "torch.Tensor", most: "torch.Tensor") -> "torch.Tensor":
    """In e4m3, of which the largest is 256."""
    import torch

    return (256 * (scores - most).exp()).to(torch.float8_e4m3fn).float()


def by_bits(scores: "torch.Tensor", most: "torch.Tensor") -> "torch.Tensor":
    """By the bits of a float, which is up to 4 % off (Schraudolph, A Fast, Compact Approximation of
    the Exponential Function, 1999).
    """
    import torch

    bits = (scores - most) * (2**23 / math.log(2)) + (127 * 2**23 - 366000)
    return bits.clamp_min(0).int().view(torch.float32)


def without_least_pages(scores: "torch.Tensor", most: "torch.Tensor") -> "torch.Tensor":
    """Without the tenth of the pages whose best scores are the lowest."""
    from torch.nn.functional import pad

    weights = (scores - most).exp()
    pages = pad(weights, (0, -weights.shape[-1] % PAGE)).unflatten(-1, (-1, PAGE))
    best = pages.amax(-1)
    least = best.quantile(0.1, dim=-1, keepdim=True)
    kept = pages.where((best >= least)[..., None], 0.0)
    return kept.flatten(-2)[..., : weights.shape[-1]]


def without_light_tiles(scores: "torch.Tensor", most: "torch.Tensor") -> "torch.Tensor":
    """Without tiles in which no weight is a hundredth of the largest."""
    weights = (scores - most).exp()
    for tile in weights.split(TILE, dim=-1):
        tile.masked_fill_(tile.amax(-1, keepdim=True) < 0.01, 0.0)
    return weights


def not_rescaled(scores: "torch.Tensor", most: "torch.Tensor") -> "torch.Tensor":
    """Whose first tile keeps its size when the second has a larger score."""
    first, second = (
        scores[..., at : at + TILE].amax(-1, keepdim=True) if at < scores.shape[-1] else most
        for at in (0, TILE)
    )
    weights = (scores - most).exp()
    weights[..., :TILE] *= (first.maximum(second) - first).exp().nan_to_num()
    return weights


SHORTCUT_FAULTS = (
    Fault("scores rounded to bf16", weighing(rounded_scores), over_bf16),
    Fault("weights rounded to e4m3", weighing(rounded_weights), over_bf16),
    Fault("exponentials by the bits of a float", weighing(by_bits), over_bf16),
    Fault("the least tenth of the pages skipped", weighing(without_least_pages)),
    Fault("light tiles skipped", weighing(without_light_tiles)),
    Fault("the first tile not rescaled", weighing(not_rescaled)),
)
