"""Needles in a prepared case: its keys at their places, its queries turned to them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from attnbench.kernels.groups import Group, Keys, Lengths
from attnbench.kernels.inputs import LARGE, raw, seeded
from attnbench.kernels.needles import HIGHER, Needles, OwnKeys, random_signs
from attnbench.kernels.places import Places
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


def has_needles(case: Case) -> bool:
    """Whether the case's data are random and its heads large enough."""
    shape = case.shape
    dim = shape.head_dim if isinstance(shape, AttnShape) else shape.qk_head_dim
    return case.kv_data == "random" and dim >= LEAST_DIM


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
        seen = at.positions + 1
        return seen if self.case.window is None else seen.clamp(max=self.case.window)

    def own_keys(self, at: Keys) -> list[OwnKeys]:
        """The newest key and the window's oldest; the next, and the one before the window."""
        position, window = at.positions, self.case.window
        own = [OwnKeys(self.met_at(at))]
        if at.group.q_len > 1:
            following = self.met_at(at.beside(position + 1))
            own.append(OwnKeys(following, position < at.last, HIGHER))
        if window is not None and window < at.group.kv_len:
            oldest = position - window + 1
            own.append(OwnKeys(self.met_at(at.beside(oldest)), oldest >= 0))
            before = self.met_at(at.beside(oldest - 1))
            own.append(OwnKeys(before, oldest > 0, HIGHER))
        return own

    def lay_needles(self, sets: int, seed: int, *, large_tails: bool = False) -> None:
        """Plant needles and, with `large_tails`, keys behind each request; then aim.

        Does nothing unless the case has needles.
        """
        if has_needles(self.case):
            self.needle_seed, self.num_sets = seed + SEED, sets
            self.plant(large_tails=large_tails)
            self.aim()

    def plant(self, *, large_tails: bool = False, new_alone: bool = False) -> None:
        """Turn keys into needles, with `new_alone` only those of new tokens, drawn again."""
        if self.needle_seed is None:
            return
        needles = self._needles
        for groups in self._alike():
            at = self.needles_in(groups)
            where = at.only(at.fresh) if new_alone else at
            self.put_keys(where, needles.of(self.keys_at(where), where.positions))
            if large_tails:
                behind = self._behind(groups)
                tail = needles.tail(LARGE).expand(*behind.positions.shape, -1, -1)
                self.put_keys(behind, tail)

    def aim(self) -> None:
        """Turn all queries to the needles and to their own keys, after they were drawn."""
        import torch

        if self.needle_seed is None:
            return
        needles, heads = self._needles, torch.arange(self.num_heads, device=self.device)
        for at in self._new_tokens():
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
        requests = torch.full_like(sets, group.first + group.count - 1)
        last = torch.full_like(sets, group.kv_len - 1)
        at = Keys(group, self.lengths, sets, requests, last)
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

        limits = (at.group.kv_len, self.case.window, self.case.index_topk)
        newest = min(NEWEST, *(each for each in limits if each is not None))
        back = torch.arange(newest, device=self.device)
        every = torch.broadcast_tensors(at.sets, at.requests, at.positions - back[:, None])
        keys = self.keys_at(Keys(at.group, at.lengths, *every))  # [newest, n, KV heads, d]
        unit = self._needles.unit
        along = torch.einsum("knhd,chd->knhc", keys, unit).square().amax(-1)
        likeness, chosen = (along / keys.square().sum(-1)).min(0)
        places = chosen[None, ..., None].expand(1, *keys.shape[1:])
        return keys.gather(0, places)[0], (likeness < 1 / 8)[..., None]

    @cached_property
    def lengths(self) -> Lengths:
        """Those of the batch's requests."""
        return Lengths.of(self.case.batch, self.device)

    @cached_property
    def places(self) -> Places:
        """Where the needles stand."""
        generator = self._generator
        self.needles(generator)  # they are drawn first
        return Places.drawn(self.groups, self.lengths, self.block_size, self.num_sets, generator)

    @cached_property
    def _needles(self) -> Needles:
        return self.needles(self._generator)

    @property
    def _generator(self) -> "torch.Generator":
        """As it is before needles are drawn."""
        assert self.needle_seed is not None
        return seeded(self.device, self.needle_seed)

    def needles_in(self, groups: list[Group]) -> Keys:
        """The needles of some groups: [sets, n]."""
        counts, positions = self.places.counts, self.places.positions
        at = self._within(groups, lambda group: (0, counts[group.first]))
        return replace(at, positions=positions[at.sets, at.requests, at.positions])

    def kind(self, group: Group) -> Hashable:
        """Groups of one kind are read and stored together, in a few launches for all of them."""
        window = self.case.window
        return group.q_len > 1, window is not None and window < group.kv_len

    def _alike(self) -> list[list[Group]]:
        """The groups of each kind."""
        found: dict[Hashable, list[Group]] = {}
        for group in self.groups:
            found.setdefault(self.kind(group), []).append(group)
        return list(found.values())

    def _behind(self, groups: list[Group]) -> Keys:
        """The rest of the page in which each request ends."""
        return self._within(groups, lambda group: group.behind(self.block_size))

    def _new_tokens(self) -> Iterator[Keys]:
        """All new tokens of all sets, in steps."""
        size = max(1, STEP_ELEMENTS // (self.num_heads * self.key_dim))
        for groups in self._alike():
            at = self._within(groups, lambda group: group.new)
            each = (places.flatten().split(size) for places in (at.sets, at.requests, at.positions))
            for parts in zip(*each, strict=True):
                yield Keys(at.group, at.lengths, *parts)

    def _within(self, groups: list[Group], bounds: Callable[[Group], tuple[int, int]]) -> Keys:
        return Keys.within(groups, self.lengths, self.num_sets, bounds)
