"""Groups of neighbouring equal requests, which a dense kernel takes in one launch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Self

import numpy as np

from attnbench.specs.batch import Batch

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Group:
    """`count` neighbouring requests with equal q_len and kv_len, and their place in the batch."""

    first: int  # index of the first request
    count: int
    q_len: int
    kv_len: int
    first_token: int  # among the batch's new tokens

    @property
    def requests(self) -> slice:
        """Their rows in tensors indexed by request."""
        return slice(self.first, self.first + self.count)

    @property
    def tokens(self) -> slice:
        """Their rows in tensors indexed by new token."""
        return slice(self.first_token, self.first_token + self.count * self.q_len)

    @property
    def new(self) -> tuple[int, int]:
        """Between which positions the new tokens of a request stand."""
        return self.kv_len - self.q_len, self.kv_len

    def behind(self, block_size: int) -> tuple[int, int]:
        """Between which positions the rest of a request's last page lies."""
        return self.kv_len, -(-self.kv_len // block_size) * block_size


@dataclass(frozen=True, slots=True)
class Lengths:
    """Of each request of a batch: int64 [requests], on the device."""

    context: "torch.Tensor"  # tokens before the new ones
    kv: "torch.Tensor"
    first_token: "torch.Tensor"  # among the batch's new tokens

    @classmethod
    def of(cls, batch: Batch, device: "torch.device | str") -> Self:
        """Those of all requests, in one transfer."""
        import torch

        starts = accumulate((request.q_len for request in batch), initial=0)
        each = [(r.context_len, r.kv_len, start) for r, start in zip(batch, starts, strict=False)]
        return cls(*torch.tensor(each, device=device).unbind(1))


@dataclass(frozen=True)
class Keys:
    """Places of keys in requests of a batch; int64 tensors of one shape."""

    group: Group  # theirs, or the first of theirs where all are of one kind
    lengths: Lengths
    sets: "torch.Tensor"
    requests: "torch.Tensor"  # in the batch
    positions: "torch.Tensor"

    @classmethod
    def within(
        cls,
        groups: Sequence[Group],
        lengths: Lengths,
        sets: int,
        bounds: Callable[[Group], tuple[int, int]],
    ) -> Self:
        """The positions between the two bounds in each request of some groups: [sets, n]."""
        import torch

        places = np.concatenate([_places(group, *bounds(group)) for group in groups], axis=1)
        device = lengths.kv.device
        requests, positions = torch.from_numpy(places).to(device)
        every = torch.arange(sets, device=device)[:, None]
        return cls(groups[0], lengths, *torch.broadcast_tensors(every, requests, positions))

    @property
    def fresh(self) -> "torch.Tensor":
        """Whether each is a new token."""
        return self.positions >= self.lengths.context[self.requests]

    @cached_property
    def tokens(self) -> "torch.Tensor":
        """Each key's number among the batch's new tokens, if it is one."""
        first = self.lengths.first_token - self.lengths.context
        return first[self.requests] + self.positions

    @property
    def last(self) -> "torch.Tensor":
        """The position of the last key of each one's request."""
        return self.lengths.kv[self.requests] - 1

    def only(self, chosen: "torch.Tensor") -> "Keys":
        """Those of them for which `chosen`, of their shape, is true: [n]."""
        places = self.sets[chosen], self.requests[chosen], self.positions[chosen]
        return Keys(self.group, self.lengths, *places)

    def beside(self, positions: "torch.Tensor") -> "Keys":
        """Other keys of the same requests; positions outside are moved inside."""
        inside = positions.clamp_min(0).minimum(self.last)
        return Keys(self.group, self.lengths, self.sets, self.requests, inside)


def _places(group: Group, first: int, end: int) -> "NDArray[np.int64]":
    """Each request of a group beside each position from `first` up to `end`: [2, n]."""
    requests = np.arange(group.first, group.first + group.count)
    positions = np.arange(first, end)
    return np.stack([requests.repeat(len(positions)), np.tile(positions, len(requests))])


def place_of(token: int, groups: Sequence[Group]) -> str:
    """Names one of the batch's new tokens, all counted from 0."""
    group = next(each for each in groups if token < each.tokens.stop)
    request, within = divmod(token - group.first_token, group.q_len)
    which = f"request {group.first + request}"
    return which if group.q_len == 1 else f"{which}, new token {within}"


def groups_of(batch: Batch) -> list[Group]:
    """The batch as groups of neighbouring equal requests, in order."""
    found: list[Group] = []
    first = token = 0
    for count, request in batch.groups():
        found.append(Group(first, count, request.q_len, request.kv_len, token))
        first, token = first + count, token + count * request.q_len
    return found


def causal_mask(
    q_len: int, kv_len: int, device: str, window: int | None = None
) -> "torch.Tensor | None":
    """The keys each query may see, bool [q_len, kv_len], aligned bottom right; None if all."""
    import torch

    windowed = window is not None and window < kv_len
    if q_len == 1 and not windowed:
        return None
    mask = torch.ones(q_len, kv_len, dtype=torch.bool, device=device).tril(kv_len - q_len)
    return mask.triu(kv_len - q_len - window + 1) if windowed and window else mask
