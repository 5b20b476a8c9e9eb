"""Needles in a prepared case: its keys at their places, its queries turned to them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from statistics import NormalDist
from typing import TYPE_CHECKING

from attnbench.kernels.groups import Group, Keys
from attnbench.kernels.inputs import LARGE, raw, seeded
from attnbench.kernels.needles import HIGHER, REST, Needles, OwnKeys, places, random_signs
from attnbench.kernels.tolerance import LARGE_SCORE, too_small
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape

if TYPE_CHECKING:
    import torch

LEAST_DIM = 64  # of heads in which a query that is turned to a few keys leaves others alone
SEED = 2**21  # added to a round's seed: data without needles are the same but for them
STEP_ELEMENTS = 2**24  # of queries that are turned at a time
# A score of which fp32 cannot hold the exponential. All others are smaller by 50 or more, so no
# rounding of scores changes the result.
HOT = 200.0
NEWEST = 8  # keys of which it is the score of one


class Aimed(ABC):
    """A prepared case whose keys and queries are read and stored by place.

    Queries are `queries` [sets, tokens, heads, d], unless a subclass says otherwise.
    """

    case: Case
    groups: list[Group]
    num_heads: int
    num_sets: int
    block_size: int
    key_dim: int  # elements of a key in the reference
    scale: float
    device: str
    queries: "torch.Tensor"
    query_scale: float = 1.0  # of stored queries
    needle_seed: int | None = None  # None leaves all data purely random

    @abstractmethod
    def keys_at(self, at: Keys) -> "torch.Tensor":
        """The values of cached keys: fp32 [..., KV heads, d]."""

    @abstractmethod
    def put_keys(self, at: Keys, keys: "torch.Tensor") -> None:
        """Store keys [..., KV heads, d], clamped to what the cache can hold."""

    def queries_at(self, at: Keys) -> "torch.Tensor":
        """The queries of new tokens: fp32 [n, heads, d]."""
        stored = raw(self.queries)[at.sets, at.tokens].view(self.queries.dtype)
        return stored.float() * self.query_scale

    def put_queries(self, at: Keys, queries: "torch.Tensor") -> None:
        """Store queries [n, heads, d] of new tokens."""
        stored = (queries / self.query_scale).to(self.queries.dtype)
        raw(self.queries)[at.sets, at.tokens] = raw(stored)

    def met_at(self, at: Keys) -> "torch.Tensor":
        """Cached keys as queries meet them: fp32 [n, KV heads or heads, d]."""
        return self.keys_at(at)

    def needles(self, generator: "torch.Generator") -> Needles:
        """The needles of cached keys."""
        shape = self.case.shape
        assert isinstance(shape, AttnShape)
        signs = random_signs(shape.num_kv_heads, shape.head_dim, generator)
        return Needles(signs, self.scale)

    def met(self, needles: Needles, group: Group) -> Needles:
        """The needles as the group's queries meet them."""
        return needles

    def visible(self, at: Keys) -> "torch.Tensor":
        """The number of keys that each of these new tokens sees."""
        return (at.positions + 1).clamp(max=self.case.window or at.group.kv_len)

    def own_keys(self, at: Keys) -> list[OwnKeys]:
        """The newest key and the window's oldest; the next, and the one before the window."""
        position, last, window = at.positions, at.group.kv_len - 1, self.case.window
        own = [OwnKeys(self.met_at(at))]
        if at.group.q_len > 1:
            following = self.met_at(at.beside(position + 1))
            own.append(OwnKeys(following, position < last, HIGHER))
        if window is not None and window < at.group.kv_len:
            oldest = position - window + 1
            own.append(OwnKeys(self.met_at(at.beside(oldest)), oldest >= 0))
            before = self.met_at(at.beside(oldest - 1))
            own.append(OwnKeys(before, oldest > 0, HIGHER))
        return own

    def lay_needles(self, sets: int, seed: int, *, large_tails: bool = False) -> None:
        """Plant needles and, with `large_tails`, keys behind each request; then aim.

        Does nothing unless the case's data are random and its heads large enough.
        """
        shape = self.case.shape
        dim = shape.head_dim if isinstance(shape, AttnShape) else shape.qk_head_dim
        if self.case.kv_data == "random" and dim >= LEAST_DIM:
            self.needle_seed, self.num_sets = seed + SEED, sets
            self.plant(large_tails=large_tails)
            self.aim()

    def plant(self, *, large_tails: bool = False, new_alone: bool = False) -> None:
        """Turn keys into needles, with `new_alone` only those of new tokens, drawn again."""
        if self.needle_seed is None:
            return
        for needles, at in self._planted(self.needle_seed):
            where = at.only(at.fresh) if new_alone else at
            self.put_keys(where, needles.of(self.keys_at(where), where.positions))
            if large_tails and (behind := at.behind(self.block_size)) is not None:
                tail = needles.tail(LARGE).expand(*behind.positions.shape, -1, -1)
                self.put_keys(behind, tail)

    def aim(self) -> None:
        """Turn all queries to the needles and to their own keys, after they were drawn."""
        import torch

        if self.needle_seed is None:
            return
        needles = self.needles(seeded(self.device, self.needle_seed))
        heads = torch.arange(self.num_heads, device=self.device)
        size = max(1, STEP_ELEMENTS // (self.num_heads * self.key_dim))
        for at in _steps(self.groups, self.num_sets, size, self.device):
            kinds = at.tokens[:, None] + heads
            met = self.met(needles, at.group)
            arguments = (self.queries_at(at), kinds, self.visible(at), self.own_keys(at))
            self.put_queries(at, met.turned(*arguments))

    def heat(self) -> None:
        """Turn half of the heads of the batch's last token to one of its keys, with the score HOT.

        A softmax that does not subtract the largest score overflows there. Does nothing where
        scores are capped, where there are no needles, and where all of the last keys are needles.
        """
        import torch

        if self.needle_seed is None or self.case.softcap is not None:
            return
        group, sets = self.groups[-1], torch.arange(self.num_sets, device=self.device)
        last = torch.ones_like(sets)
        at = Keys(group, sets, last * (group.count - 1), last * (group.kv_len - 1))
        keys, alone = self._unlike_needles(at)
        turned = HOT / self.scale * keys / keys.square().sum(-1, keepdim=True)
        ratio = self.num_heads // keys.shape[1]
        queries = self.queries_at(at)
        heated = turned.repeat_interleave(ratio, 1).where(
            alone.repeat_interleave(ratio, 1), queries
        )
        queries[:, ::2] = heated[:, ::2]
        self.put_queries(at, queries)

    def _unlike_needles(self, at: Keys) -> "tuple[torch.Tensor, torch.Tensor]":
        """Of the newest keys [n] see, the one least like a needle: fp32 [n, KV heads, d].

        And whether it is unlike enough to score alone: bool [n, KV heads, 1].
        """
        import torch

        assert self.needle_seed is not None
        back = torch.arange(min(NEWEST, int(self.visible(at).min())), device=self.device)
        every = torch.broadcast_tensors(at.sets, at.requests, at.positions - back[:, None])
        keys = self.keys_at(Keys(at.group, *every))  # [newest, n, KV heads, d]
        unit = self.needles(seeded(self.device, self.needle_seed)).unit
        along = torch.einsum("knhd,chd->knhc", keys, unit).square().amax(-1)
        likeness, chosen = (along / keys.square().sum(-1)).min(0)
        places = chosen[None, ..., None].expand(1, *keys.shape[1:])
        return keys.gather(0, places)[0], (likeness < 1 / 8)[..., None]

    def largest_score(self) -> float:
        """Of the scores that matter in a row, some needles' and some others'."""
        if self.needle_seed is None:
            return LARGE_SCORE
        *kinds, _ = self._scores()
        return max(score + 2 * math.sqrt(spread) for score, spread in kinds)

    def weights_too_small(self) -> float:
        """How far e4m3 puts a row off where a kernel's largest weight is 1, relative to its size.

        Only rows of light needles matter: beside heavy ones other keys hardly count. A sink's
        weight may be the largest, and beside it all of a short request's round to 0.
        """
        if getattr(self, "sinks", None) is not None:
            return 1.0
        (light, spread), _, seen = self._scores()
        random = NormalDist().inv_cdf(seen / (seen + 1)) * math.sqrt(spread)
        return too_small(max(random, light + 2 * REST * math.sqrt(spread)), spread)

    def _scores(self) -> tuple[tuple[float, float], tuple[float, float], int]:
        """Of the last token, for light and for heavy needles: their score, others' variance.

        And the number of keys that it sees. Without needles their score is 0.
        """
        import torch

        group = max(self.groups, key=lambda group: group.kv_len)
        first = torch.zeros(1, dtype=torch.int64, device=self.device)
        at = Keys(group, first, first, first + group.kv_len - 1)
        seen = self.visible(at)
        if self.needle_seed is None:
            return (0.0, 1.0), (0.0, 1.0), int(seen)
        needles = self.met(self.needles(seeded(self.device, self.needle_seed)), group)
        found = needles.scores(seen.float(), self.own_keys(at))
        light, heavy = torch.stack(found, -1).squeeze(1).tolist()  # each [2 strengths, 1]
        return tuple(light), tuple(heavy), int(seen)

    def needles_in(self, group: Group) -> "torch.Tensor":
        """The positions of a group's needles: int64 [sets, count, needles]."""
        assert self.needle_seed is not None
        return next(at.positions for _, at in self._planted(self.needle_seed) if at.group == group)

    def _planted(self, seed: int) -> Iterator[tuple[Needles, Keys]]:
        """The needles of each group, the same in every call."""
        import torch

        generator, sets = seeded(self.device, seed), self.num_sets
        needles = self.needles(generator)
        for group in self.groups:
            found = places(group, self.block_size, sets, generator)
            every = torch.arange(sets, device=found.device)[:, None, None]
            requests = torch.arange(group.count, device=found.device)[:, None]
            yield needles, Keys(group, *torch.broadcast_tensors(every, requests, found))


def _steps(groups: list[Group], sets: int, size: int, device: str) -> Iterator[Keys]:
    """All new tokens of all sets, at most `size` at a time."""
    import torch

    for group in groups:
        of_one = group.count * group.q_len
        for part in torch.arange(sets * of_one, device=device).split(size):
            request, offset = part % of_one // group.q_len, part % group.q_len
            yield Keys(group, part // of_one, request, group.kv_len - group.q_len + offset)
