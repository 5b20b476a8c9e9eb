"""Groups of neighbouring equal requests, which a dense kernel takes in one launch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnbench.specs.batch import Batch

if TYPE_CHECKING:
    import torch


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


@dataclass(frozen=True, slots=True)
class Keys:
    """Places of keys in the requests of a group; int64 tensors of one shape."""

    group: Group
    sets: "torch.Tensor"
    requests: "torch.Tensor"  # within the group
    positions: "torch.Tensor"

    @property
    def fresh(self) -> "torch.Tensor":
        """Whether each is a new token."""
        return self.positions >= self.group.kv_len - self.group.q_len

    @property
    def tokens(self) -> "torch.Tensor":
        """Each key's number among the batch's new tokens, if it is one."""
        within = self.positions - (self.group.kv_len - self.group.q_len)
        return self.group.first_token + self.requests * self.group.q_len + within

    def only(self, chosen: "torch.Tensor") -> "Keys":
        """Those of them for which `chosen`, of their shape, is true: [n]."""
        return Keys(self.group, self.sets[chosen], self.requests[chosen], self.positions[chosen])

    def behind(self, block_size: int) -> "Keys | None":
        """The rest of the page in which each request ends, given places [sets, count, k]."""
        import torch

        end = -(-self.group.kv_len // block_size) * block_size
        rest = torch.arange(self.group.kv_len, end, device=self.positions.device)
        if not len(rest):
            return None
        first = (self.sets[..., :1], self.requests[..., :1], rest)
        return Keys(self.group, *torch.broadcast_tensors(*first))

    def beside(self, positions: "torch.Tensor") -> "Keys":
        """Other keys of the same requests; positions outside are moved inside."""
        inside = positions.clamp(0, self.group.kv_len - 1)
        return Keys(self.group, self.sets, self.requests, inside)


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
