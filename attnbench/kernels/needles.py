"""Needles: keys that weigh, where kernels go wrong, in data that is otherwise random.

Among n random keys each weighs 1/n, so losing a few goes unnoticed. A needle's key has a component
along the signs of its KV head, and so has every query, which thus scores needles about alike. They
stand at the first key, on both sides of split borders and of some page borders, and in the last
page. A query is also turned to keys of its own: the newest and the window's oldest, and, to score
higher still, those it must not see: the next token's and the one before the window.

Needles are as strong as they need be. Even and odd positions have signs of their own, and a query
is turned to either: the fewer needles it sees, the more each of them counts. In half of the rows
they have half the norm of all other keys in the output, so a lost page without a needle shows too;
in the other half they have twice their weight, so lost needles show best, and splits that are
merged wrongly.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from attnbench.specs.case import Case

if TYPE_CHECKING:
    import torch

LENGTH = 16.0  # of a needle's key along its head's signs
REST = 0.125  # without any, all needles would score the same and be rounded alike in fp8
USUAL = 8  # needles of a long request that a query scores
# Least norm of needles in an output, relative to that of all other keys, and least weight in half
# of the rows: where needles score higher still, fp8 weights of other keys become 0.
LIGHT, HEAVY = 0.5, 2.0
HIGHER = 1.0  # by which a key scores higher that must not be seen
MOST_SPREAD = 6.0  # limits the variance of scores where a head has few dimensions
PASSES = 3  # over a query's own keys, nearly orthogonal, until all score as wanted


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """One key for each of n queries: fp32 [n, KV heads, d]."""

    keys: "torch.Tensor"
    there: "torch.Tensor | None" = None  # bool [n]; None if each query has it
    higher: float = 0.0  # than the needles score
    needle_at: "torch.Tensor | None" = None  # int64 [n]: it is the needle at this position

    def turns(self, parity: "torch.Tensor") -> "torch.Tensor":
        """The queries that are turned to it, bool as `parity` [n, KV heads, k] of their needles."""
        if self.needle_at is not None:
            return parity == self.needle_at[:, None, None] % 2
        if self.there is not None:
            return self.there[:, None, None].expand_as(parity)
        return parity >= 0


@dataclass(frozen=True)
class Needles:
    """Turns keys into needles, and queries to them.

    `signs` [2, KV heads, d], of even and of odd positions, are 1, -1 or, in dimensions that needles
    do not use, 0. `scale` is that of the scores, `rest` the part of its random key that a needle
    keeps, `gain` the size of its value, where that of others is 1.
    """

    signs: "torch.Tensor"
    scale: float
    rest: float = REST
    gain: float = 1.0

    @cached_property
    def unit(self) -> "torch.Tensor":
        """The signs at length 1."""
        return self.signs / self.signs[0, 0].norm()

    def of(self, keys: "torch.Tensor", positions: "torch.Tensor") -> "torch.Tensor":
        """Needles from random keys [..., KV heads, d] at positions int64 [...]."""
        return self.rest * keys + LENGTH * self.unit[positions % 2]

    def tail(self, large: float) -> "torch.Tensor":
        """A key [KV heads, d] behind the last: most queries that saw it would see nothing else."""
        import torch

        shared = self.signs.mean(0)  # both kinds of queries score it
        return torch.where(shared == 0, large / 100, large * shared)

    def turned(
        self,
        queries: "torch.Tensor",
        kinds: "torch.Tensor",
        visible: "torch.Tensor",
        own: list[OwnKeys],
    ) -> "torch.Tensor":
        """Queries [n, heads, d], changed as little as gives needles and own keys their scores.

        `visible` [n] are the numbers of keys that they see. `kinds` int64 [n, heads] mod 4 choose
        the needles and their strength: odd ones are heavy, from 2 on those at odd positions score.
        """
        import torch

        heads = (len(queries), self.signs.shape[1], -1)  # [n, KV heads, queries of each]
        kinds = kinds.view(heads)
        scores = self.scores(visible.float(), own)[0][:, :, None, None]
        wanted = scores[1].where(kinds % 2 == 1, scores[0]) / self.scale
        parity = kinds // 2 % 2
        given = queries.view(*heads, queries.shape[2])
        missing = wanted / LENGTH - _of_parity(self._along(given), parity)
        if own:
            shares, keys, along = self._shares(given, parity, missing, wanted, own)
            missing = missing - (shares * along).sum(-1)
            given = given + shares @ keys
        both = torch.stack([missing * (parity == 0), missing * (parity == 1)], dim=-1)
        return (given + torch.einsum("nhkc,chd->nhkd", both, self.unit)).view(queries.shape)

    def _along(self, vectors: "torch.Tensor") -> "torch.Tensor":
        """Components [n, KV heads, k, 2] of vectors [n, KV heads, k, d] along both signs."""
        import torch

        return torch.einsum("nhkd,chd->nhkc", vectors, self.unit)

    def _shares(
        self,
        queries: "torch.Tensor",
        parity: "torch.Tensor",
        missing: "torch.Tensor",
        wanted: "torch.Tensor",
        own: list[OwnKeys],
    ) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
        """The shares [n, KV heads, k, own] of their own keys that turned queries have.

        Also the keys [n, KV heads, own, d], and their components along the signs: only what is
        orthogonal to those is added, so needles score as before. Own keys that are needles
        themselves may have little of it: for them nothing changes.
        """
        import torch

        keys = torch.stack([each.keys for each in own], dim=2)
        along = self._along(keys).unbind(-1)  # each [n, KV heads, own]
        along_own = _of_parity(torch.stack([each.unsqueeze(2) for each in along], -1), parity)
        products = keys @ keys.transpose(2, 3)
        size = products.diagonal(dim1=2, dim2=3).unsqueeze(2) - along_own.square()
        turning = torch.stack([each.turns(parity) for each in own], -1)
        turning = turning & (size > queries.shape[3] / 4)
        higher = [math.log(self.gain) * (each.needle_at is None) + each.higher for each in own]
        wanted = wanted.unsqueeze(-1) + wanted.new_tensor(higher) / self.scale
        wanted = wanted - queries @ keys.transpose(2, 3) - missing.unsqueeze(-1) * along_own
        shares = torch.zeros_like(wanted)
        for at in [*range(len(own))] * PASSES:
            reached = (shares * products[:, :, None, at]).sum(-1)
            reached = reached - along_own[..., at] * (shares * along_own).sum(-1)
            step = (wanted[..., at] - reached) / size[..., at]
            shares[..., at] += step.where(turning[..., at], 0.0)
        return shares, keys, along_own

    def scores(
        self, visible: "torch.Tensor", own: list[OwnKeys]
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """The score of needles among so many visible keys [n], by strength: fp32 [2, n].

        Also the variance of the scores of other keys, which turning a query to its keys raises.
        """
        import torch

        dim, turns = self.signs.shape[2], sum(each.needle_at is None for each in own)
        rest = (visible / visible.clamp(max=USUAL)).log()
        score = torch.zeros_like(visible).expand(2, -1)
        for _ in range(4):  # to a fixed point
            spread = self.scale**2 * dim + score.square() * (turns / dim + 1 / LENGTH**2)
            spread = spread.clamp(max=MOST_SPREAD)
            by_norm = math.log(LIGHT / self.gain) + rest / 2 + spread
            by_weight = math.log(HEAVY) + rest + spread / 2
            score = torch.stack([by_norm[0], torch.maximum(by_norm, by_weight)[1]])
        return score, spread


def _of_parity(both: "torch.Tensor", parity: "torch.Tensor") -> "torch.Tensor":
    """Of [..., 2], those of even or of odd positions: parity is [n, KV heads, k]."""
    even, odd = both.unbind(-1)
    return even.where(parity.view(*parity.shape, *[1] * (even.dim() - 3)) == 0, odd)


def sink_logits(case: Case, dtype: "torch.dtype", generator: "torch.Generator") -> "torch.Tensor":
    """A sink for each query head, [heads]: standard normal, but heavy enough beside many keys.

    Of even heads beside those of the longest request, of odd ones beside those of the shortest,
    which would weigh nothing beside the others.
    """
    import torch

    sinks = torch.randn(case.shape.num_q_heads, device=generator.device, generator=generator)
    lengths = [min(request.kv_len, case.window or request.kv_len) for request in case.batch]
    if case.kv_data == "random":
        sinks[0::2] += math.log(max(lengths))
        sinks[1::2] += math.log(min(lengths))
    return sinks.to(dtype)


def random_signs(heads: int, dim: int, generator: "torch.Generator") -> "torch.Tensor":
    """Random signs of even and odd positions, fp32 [2, heads, dim]."""
    import torch

    drawn = torch.randint(2, (2, heads, dim), generator=generator, device=generator.device)
    return 2.0 * drawn - 1.0
