"""The fp32 reference: attention of sampled output rows."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from attnbench.kernels.base import Prepared
from attnbench.kernels.groups import Group, groups_of
from attnbench.specs.batch import Batch

if TYPE_CHECKING:
    import torch


# Most elements of gathered keys in one step of the reference: 128 MiB in fp32.
STEP_ELEMENTS = 2**25


Attend = Callable[..., "torch.Tensor"]  # with the arguments of `attend`


@dataclass(frozen=True, slots=True)
class Rows:
    """Output rows of one group of equal requests; all tensors are int64 [n]."""

    group: Group
    sets: "torch.Tensor"  # the working set of each row
    requests: "torch.Tensor"  # within the group
    tokens: "torch.Tensor"  # among the batch's new tokens
    heads: "torch.Tensor"
    seen: "torch.Tensor"  # number of keys that each row sees

    @property
    def most_seen(self) -> int:
        """The most keys that a row of the group can see."""
        return self.group.kv_len

    def steps(self, key_dim: int) -> "Iterator[Rows]":
        """The rows in parts, each with few enough gathered keys for one step."""
        size = max(1, STEP_ELEMENTS // (self.most_seen * key_dim))
        each = (self.sets, self.requests, self.tokens, self.heads, self.seen)
        for parts in zip(*(tensor.split(size) for tensor in each), strict=True):
            yield Rows(self.group, *parts)


def attend(
    query: "torch.Tensor",
    keys: "torch.Tensor",
    values: "torch.Tensor",
    seen: "torch.Tensor",
    scale: float,
    *,
    window: int | None = None,
    softcap: float | None = None,
    sinks: "torch.Tensor | None" = None,
) -> "torch.Tensor":
    """Queries [n, d] over keys [n, k, d] and values [n, k, d_v] in fp32: [n, d_v].

    Row i sees its first seen[i] keys, with a window only the last of those; all other keys and
    values may be NaN. `softcap` c makes scores c * tanh(scores / c) (Gemma 2, arXiv:2408.00118).
    `sinks` [n] are logits that add to the softmax's sum but have no value (gpt-oss,
    arXiv:2508.10925).
    """
    import torch

    places = torch.arange(keys.shape[1], device=keys.device)
    visible = places < seen[:, None]
    if window is not None:
        visible &= places >= seen[:, None] - window
    return attend_to(visible, query, keys, values, scale, softcap=softcap, sinks=sinks)


def attend_to(
    visible: "torch.Tensor",
    query: "torch.Tensor",
    keys: "torch.Tensor",
    values: "torch.Tensor",
    scale: float,
    *,
    softcap: float | None = None,
    sinks: "torch.Tensor | None" = None,
) -> "torch.Tensor":
    """The same for rows that each see the keys that are true in `visible`, bool [n, k]."""
    import torch

    scores = torch.einsum("nd,nkd->nk", query.float(), keys.float()) * scale
    if softcap is not None:
        scores = softcap * (scores / softcap).tanh()
    scores = scores.masked_fill(~visible, float("-inf"))
    weights = softmax_with_sinks(scores, sinks)
    known = values.float().masked_fill(~visible[:, :, None], 0.0)
    return torch.einsum("nk,nkd->nd", weights, known)


def softmax_with_sinks(scores: "torch.Tensor", sinks: "torch.Tensor | None") -> "torch.Tensor":
    """Softmax over the last dimension with exp(sinks) added to the sum; sinks are [...]."""
    import torch

    if sinks is None:
        return scores.softmax(-1)
    with_sinks = torch.cat([scores, sinks.to(scores.dtype).unsqueeze(-1)], dim=-1)
    return with_sinks.softmax(-1)[..., :-1]


class AttentionPrepared(Prepared):
    """A prepared attention case with output [tokens, heads, d_v]: one row per token and head."""

    renewable: ClassVar[bool] = True
    device: str
    key_dim: int  # elements per key in the reference

    def __init__(self, batch: Batch, num_heads: int, block_size: int) -> None:
        self.batch = batch
        self.num_heads = num_heads
        self.groups = groups_of(batch)
        self.critical_rows = _critical_rows(batch, num_heads, block_size)
        self.outputs: list[torch.Tensor] = []
        self.attend: Attend = attend  # the arithmetic of the reference

    @abstractmethod
    def attended(self, rows: Rows) -> "torch.Tensor":
        """The fp32 output of these rows: [n, d_v]."""

    def poison(self, index: int) -> None:
        self.outputs[index].fill_(float("nan"))

    def output(self, index: int) -> "torch.Tensor":
        return self.outputs[index].flatten(0, 1)

    def expected(self, sets: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
        import torch

        order, steps = self._by_group(sets, rows)
        return torch.cat([self.attended(step) for step in steps])[order]

    def _by_group(
        self, sets: "torch.Tensor", rows: "torch.Tensor"
    ) -> "tuple[torch.Tensor, list[Rows]]":
        """The rows by group, on the device, and the position of each of `rows` among them."""
        import torch

        tokens, heads = rows // self.num_heads, rows % self.num_heads
        steps, places = list[Rows](), []
        for group in self.groups:
            inside = (tokens >= group.tokens.start) & (tokens < group.tokens.stop)
            where = inside.nonzero().squeeze(1)
            if len(where):
                places.append(where)
                mine = _rows_of(group, sets[where], tokens[where], heads[where], self.device)
                steps += mine.steps(self.key_dim)
        return torch.cat(places).argsort().to(self.device), steps


def _rows_of(
    group: Group, sets: "torch.Tensor", tokens: "torch.Tensor", heads: "torch.Tensor", device: str
) -> Rows:
    import torch

    within = tokens - group.first_token
    seen = group.kv_len - group.q_len + within % group.q_len + 1
    each = (sets, within // group.q_len, tokens, heads, seen)
    return Rows(group, *torch.stack(each).to(device))  # in one transfer


def rotating(call: Callable[[int], object], sets: int) -> list[Callable[[], object]]:
    """One launch without arguments per set: `call` bound to the set's index."""
    return [partial(call, index) for index in range(sets)]


def _critical_rows(batch: Batch, num_heads: int, block_size: int) -> Sequence[int]:
    """The first and last token of each group, and those on either side of a page boundary."""
    rows: list[int] = []
    token = 0
    for count, request in batch.groups():
        last_start = token + (count - 1) * request.q_len
        boundary = -request.context_len % block_size  # the first new token that starts a page
        within = {0, request.q_len - 1, boundary - 1, boundary}
        within = {offset for offset in within if 0 <= offset < request.q_len}
        for start in {token, last_start}:
            rows += [(start + o) * num_heads + head for o in within for head in (0, num_heads - 1)]
        token += count * request.q_len
    return sorted(set(rows))
