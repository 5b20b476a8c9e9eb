"""A few batches that stand for all steps, by strata of what costs attention its time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from attnbench.specs.batch import Batch
from attnbench.traffic.requests import Bools, Floats, Ints
from attnbench.traffic.schedule import Schedule
from attnbench.traffic.server import Server

StepKind = Literal["decode", "mixed", "prefill"]
STEP_KINDS: tuple[StepKind, ...] = ("decode", "mixed", "prefill")
Z_95 = 1.96
_CUTS = tuple(part / 8 for part in range(1, 8))  # quantiles at which a stratum may be split
_SHOWN = 20_000  # steps of a stratum that decide where it is split
_COUNTS = (4.0, 1.0, 1.0, 0.5, 0.5)  # of the costs: the roofline against each of the others
_ALONE_COUNTS = 0.1  # a batch's own distance from its stratum's means, against that of the sums


@dataclass(frozen=True, slots=True)
class Representative:
    """A step's batch, and the stratum for which it stands; ranges include both ends."""

    batch: Batch
    kind: StepKind
    weight: int  # steps of the stratum
    share: float  # of the attention time of all steps
    decodes: tuple[int, int]
    context: tuple[int, int]  # cached tokens that all requests read
    new: tuple[int, int]  # prefill tokens
    keys: tuple[int, int]  # that a prefill token sees, its mean rounded down


@dataclass(frozen=True, slots=True)
class Reduction:
    """The batches, and what is lost by them, as fractions of all steps' attention time.

    `beside` is the most that their decodes, new tokens or longest sequences are off, each as a
    fraction of its own sum: what a kernel may lose whose time does not vary as the roofline does.

    `margin`: the weighted time would err by at most that (95 %) if each batch were drawn at random
    from its stratum, so it bounds the loss for kernels whose times vary as the roofline does.
    """

    batches: Sequence[Representative]
    num_steps: int
    loss: float
    beside: float
    margin: float


@dataclass(frozen=True, slots=True)
class _Steps:
    """Columns by step: what cuts strata, the roofline time, and all that a kernel's time may be of.

    `features` are decodes, context, new prefill tokens, their mean keys and the longest sequence.
    `costs` are the roofline, decodes, new prefill tokens and the longest sequence, which one SM may
    have to read alone, apart for pure decodes, whose keys kernels split, and for other steps. Each
    is a part of the sum of all steps, times what it counts.
    """

    features: Floats  # [steps, 5]
    seconds: Floats
    costs: Floats  # [steps, 5]
    ordered: Bools  # whether a batch can list the step's requests as vLLM runs them

    @classmethod
    def of(cls, schedule: Schedule, server: Server) -> Self:
        """Those of a schedule."""
        decode, prefill = schedule.work(decode=True), schedule.work(decode=False)
        context = decode.kv_tokens - decode.tokens + prefill.kv_tokens - prefill.tokens
        keys = prefill.sums[:, 0] / np.maximum(prefill.tokens, 1)
        seconds, longest = server.attention_seconds(decode, prefill), schedule.longest()
        has_new = prefill.tokens > 0
        features = np.stack([decode.requests, context, prefill.tokens, keys, longest], axis=1)
        apart = [longest * ~has_new, longest * has_new]
        columns = [seconds, decode.requests, prefill.tokens, *apart]
        totals = [max(float(each.sum()), 1e-30) for each in columns]
        costs = np.stack(columns, axis=1)
        costs /= totals  # in place: there may be millions of steps
        costs *= _COUNTS
        return cls(features, seconds, costs, schedule.in_vllm_order())

    def spread(self, steps: Ints) -> float:
        """The stratum's part of the error: its steps times the deviation of their costs."""
        return float(len(steps) * np.sqrt(self.costs[steps].var(axis=0).sum()))


def reduce_steps(schedule: Schedule, server: Server, most: int) -> Reduction:
    """At most `most` batches; fewer if steps are alike. There is at least one of each kind of step.

    Strata start as the kinds of steps. The one with the largest spread is split by the feature and
    quantile that reduce it most, until there are `most`. Each is represented by one of its steps.
    """
    steps = _Steps.of(schedule, server)
    strata = _split([each for _, each in _kinds(steps.features)], steps, most)
    total = float(steps.seconds.sum())
    chosen = _representatives(strata, steps)
    weights = np.array([len(each) for each in strata], dtype=np.float64)
    error = np.sqrt(sum((len(each) * steps.seconds[each].std()) ** 2 for each in strata))
    batches = [
        _representative(schedule.batch(at), stratum, steps)
        for stratum, at in zip(strata, chosen, strict=True)
    ]
    batches.sort(key=lambda each: (STEP_KINDS.index(each.kind), each.context))
    loss = float(weights @ steps.seconds[chosen]) / total - 1
    off = (weights @ steps.costs[chosen] - steps.costs.sum(axis=0)) / _COUNTS
    beside = float(np.abs(off[1:]).max())
    return Reduction(batches, schedule.num_steps, loss, beside, Z_95 * float(error) / total)


def _kinds(features: Floats) -> Iterator[tuple[StepKind, Ints]]:
    """The steps of each kind that occurs."""
    has_decodes, has_new = features[:, 0] > 0, features[:, 2] > 0
    masks = (has_decodes & ~has_new, has_decodes & has_new, ~has_decodes)
    for kind, mask in zip(STEP_KINDS, masks, strict=True):
        if mask.any():
            yield kind, np.flatnonzero(mask)


def _split(strata: list[Ints], steps: _Steps, most: int) -> list[Ints]:
    spreads = [steps.spread(each) for each in strata]
    while len(strata) < most and max(spreads) > 0:
        at = int(np.argmax(spreads))
        halves = _halves(strata[at], steps)
        if halves is None:
            spreads[at] = 0.0  # alike in all features
            continue
        strata[at : at + 1] = halves
        spreads[at : at + 1] = [steps.spread(each) for each in halves]
    return strata


def _halves(stratum: Ints, steps: _Steps) -> list[Ints] | None:
    """The best cut; None if the steps have equal features."""
    some = stratum[:: 1 + len(stratum) // _SHOWN]
    best: tuple[float, int, float] | None = None
    for feature, values in enumerate(steps.features[some].T):
        for cut in {float(each) for each in np.quantile(values, _CUTS, method="lower")}:
            low = values <= cut
            if low.all():
                continue
            spread = steps.spread(some[low]) + steps.spread(some[~low])
            best = min(best or (np.inf, 0, 0.0), (spread, feature, cut))
    if best is None:
        return None
    low = steps.features[stratum, best[1]] <= best[2]
    return [stratum[low], stratum[~low]]


def _representatives(strata: Sequence[Ints], steps: _Steps) -> list[int]:
    """A step for each stratum, such that the weighted sums of the costs are those of all steps.

    The strata that spread most come first; what their steps are off, those of others make good.
    """
    chosen = [0] * len(strata)
    off = np.zeros(steps.costs.shape[1])
    for at in sorted(range(len(strata)), key=lambda at: -steps.spread(strata[at])):
        mean = steps.costs[strata[at]].mean(axis=0)
        some = strata[at][steps.ordered[strata[at]]]
        some = some if len(some) else strata[at]
        errors = len(strata[at]) * (steps.costs[some] - mean)
        sums, alone = ((each**2).sum(axis=1) for each in (off + errors, errors))
        best = int(np.argmin(sums + _ALONE_COUNTS * alone))
        off += errors[best]
        chosen[at] = int(some[best])
    return chosen


def _representative(batch: Batch, stratum: Ints, steps: _Steps) -> Representative:
    features = steps.features[stratum]
    ends = zip(features.min(axis=0), features.max(axis=0), strict=True)
    ranges = [(int(low), int(high)) for low, high in ends][:4]
    ((kind, _),) = _kinds(features)
    share = float(steps.seconds[stratum].sum() / steps.seconds.sum())
    return Representative(batch, kind, len(stratum), share, *ranges)
