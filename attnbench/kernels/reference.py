"""The fp32 reference of attention's output rows: which are taken, and which together."""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from attnbench.kernels.arithmetic import Attend, attend
from attnbench.kernels.base import Prepared
from attnbench.kernels.groups import Group, groups_of, place_of
from attnbench.kernels.rows import Rows, Sharing, critical_rows
from attnbench.kernels.scores import Scored
from attnbench.specs.batch import Batch

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


# By kind of device, the seconds that comparing all rows of a set may take, as foreseen by the
# FLOP/s and byte/s that the reference reaches on a slow one.
WHOLE_SECONDS = {"cuda": 0.5, "cpu": 0.05}
RATES = {"cuda": (1.5e13, 1.5e12), "cpu": (1.5e10, 4e9)}
PASSES = 6  # over gathered keys and values: reading, writing and converting them
# Elements gathered for nothing where a group is taken with longer ones: their time is at most that
# of the launches that it saves.
MOST_PADDING = {"cuda": 2**24, "cpu": 2**15}
MOST_ELEMENTS = 2**27  # of all rows, in fp32 half a GiB


class AttentionPrepared(Prepared, Scored):
    """A prepared attention case with output [tokens, heads, d_v]: one row per token and head."""

    renewable: ClassVar[bool] = True
    elements_beside: int = 0  # that it gathers for each row or block beside keys and values

    def __init__(
        self, batch: Batch, num_heads: int, block_size: int, num_kv_heads: int | None = None
    ) -> None:
        """Each of the `num_kv_heads` is shared by equally many heads; None if each has its own."""
        self.batch = batch
        self.num_heads, self.block_size = num_heads, block_size
        self.num_kv_heads = num_kv_heads or num_heads
        self.groups = groups_of(batch)
        self.critical_rows = critical_rows(batch, num_heads, block_size)
        self.outputs: list[torch.Tensor] = []
        self.attend: Attend = attend  # the arithmetic of the reference

    @abstractmethod
    def attended(self, rows: Rows) -> "torch.Tensor":
        """The fp32 output of these rows: [n, d_v], or [n, m, d_v]."""

    def sharing(self, group: Group) -> Sharing:
        """The neighbouring heads and tokens of a request that `attended` takes as one block."""
        return Sharing.of(group, self.num_heads // self.num_kv_heads, group.q_len)

    def poison(self, index: int) -> None:
        self.outputs[index].fill_(float("nan"))

    def output(self, index: int) -> "torch.Tensor":
        return self.outputs[index].flatten(0, 1)

    def place(self, row: int) -> str:
        token, head = divmod(row, self.num_heads)
        return f"{place_of(token, self.groups)}, head {head}"

    def expected(self, sets: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
        import torch

        order, steps = self._by_group(sets, rows)
        if len(steps) == 1:  # in the order of `rows`
            return self.attended(steps[0]).flatten(0, -2)
        found = torch.cat([self.attended(step) for step in steps])
        return found[order.to(self.device)].flatten(0, -2)

    def whole(self, index: int) -> "tuple[torch.Tensor, torch.Tensor] | None":
        import torch

        if not self._is_quick():
            return None
        rows, found = list[torch.Tensor](), list[torch.Tensor]()
        for group in self.groups:
            if self.gathers(group):
                continue
            blocks = self.sharing(group).blocks(group, index, self.num_heads, self.device)
            rows.append((blocks.tokens * self.num_heads + blocks.heads).flatten())
            steps = blocks.steps(self.key_dim, self.elements_beside)
            found += [self.attended(step).flatten(0, 1) for step in steps]
        if gathered := [group for group in self.groups if self.gathers(group)]:
            blocks = self.sharing(gathered[0]).of_single_tokens(gathered, self.num_heads)
            rows.append(blocks.flatten().to(self.device))
            found.append(self.expected(torch.full((len(blocks),), index), blocks))
        return torch.cat(rows), torch.cat(found)

    def gathers(self, group: Group) -> bool:
        """Whether its rows may be taken with those of longer requests, all as if as long."""
        return group.q_len == 1

    def _longest(self) -> list[Group]:
        """For each group the one whose length its rows are taken for.

        Its own beside the arithmetic of a mutant, which looks at the number of keys.
        """
        if self.attend is not attend:
            return self.groups
        found, longest = dict[Group, Group](), self.groups[0]
        gathered = filter(self.gathers, self.groups)
        for group in sorted(gathered, key=lambda group: group.kv_len, reverse=True):
            blocks = self.sharing(group).count(group, self.num_heads)
            keys = blocks * (longest.kv_len - group.kv_len)
            if not found or 2 * keys * self.key_dim > MOST_PADDING[self._kind]:
                longest = group
            found[group] = longest
        return [found.get(group, group) for group in self.groups]

    @property
    def _kind(self) -> str:
        return "cpu" if self.device == "cpu" else "cuda"

    def _is_quick(self) -> bool:
        """Whether the reference of a whole set is: few enough FLOP and bytes of gathered keys."""
        flops = gathered = 0
        for group in self.groups:
            rows, blocks = group.count * group.q_len * self.num_heads, self.sharing(group)
            flops += rows * group.kv_len * 4 * self.key_dim
            keys = 2 * group.kv_len * self.key_dim + self.elements_beside
            gathered += blocks.count(group, self.num_heads) * keys * 4
        elements = self.batch.num_tokens * self.num_heads * self.key_dim
        per_flop, per_byte = RATES[self._kind]
        seconds = flops / per_flop + PASSES * gathered / per_byte
        return elements <= MOST_ELEMENTS and seconds <= WHOLE_SECONDS[self._kind]

    def spread(self, count: int, seed: int) -> "torch.Tensor":
        import torch

        ratio = self.num_heads // self.num_kv_heads
        at = np.arange(max(count, len(self.batch), self.num_kv_heads))
        turns, requests = np.divmod(at, len(self.batch))
        # In the next round, and in the next row of a request, another KV head.
        kv_heads = (requests + turns + seed) % self.num_kv_heads
        q_lens = np.array([request.q_len for request in self.batch])
        drawn = torch.rand(at.shape, generator=torch.Generator().manual_seed(seed)).numpy()
        within = (drawn * q_lens[requests].astype(np.float32)).astype(np.int64)
        within[len(self.batch) - 1] = q_lens[-1] - 1  # the last token of all, which `heat` turns
        tokens = (q_lens.cumsum() - q_lens)[requests] + within
        first = tokens * self.num_heads + kv_heads * ratio
        return torch.from_numpy(first[:, None] + np.arange(ratio))

    def _by_group(
        self, sets: "torch.Tensor", rows: "torch.Tensor"
    ) -> "tuple[torch.Tensor, list[Rows]]":
        """The position of each of `rows` among those by group, which are on the device.

        In NumPy: for a few hundred places torch wakes a thread on every core, which takes tens of
        milliseconds in a container that may use few of them.
        """
        import torch

        taken, lengths = self._lengths()
        first = (rows if rows.ndim == 1 else rows[:, 0]).numpy()
        tokens, heads = np.divmod(first, self.num_heads)
        at = lengths[:, 0].searchsorted(tokens, side="right") - 1
        starts, q_lens, contexts, requests, taken_at = lengths[at].T
        nth, within = np.divmod(tokens - starts, q_lens)
        each = np.stack([sets.numpy(), requests + nth, tokens, heads, contexts + within + 1])
        order = taken_at.argsort(kind="stable")
        found = torch.from_numpy(each[:, order]).to(self.device)
        parts = found.split(np.bincount(taken_at, minlength=len(taken)).tolist(), dim=1)
        beside = Sharing(rows.shape[1], 1).beside(self.device) if rows.ndim > 1 else None
        steps = [
            step
            for group, part in zip(taken, parts, strict=True)
            if part.shape[1]
            for step in Rows.of_blocks(group, part, beside).steps(
                self.key_dim, self.elements_beside
            )
        ]
        return torch.from_numpy(order.argsort()), steps

    def _lengths(self) -> "tuple[list[Group], NDArray[np.int64]]":
        """The groups for whose length rows are taken, and numbers of each group of the batch.

        Its first token, q_len, context, first request and place among the former: [groups, 5].
        """
        longest = self._longest()
        taken = {group: at for at, group in enumerate(dict.fromkeys(longest))}
        numbers = [
            (own.first_token, own.q_len, own.kv_len - own.q_len, own.first, taken[group])
            for own, group in zip(self.groups, longest, strict=True)
        ]
        return list(taken), np.array(numbers)


def rotating(call: Callable[[int], object], sets: int) -> list[Callable[[], object]]:
    """One launch without arguments per set: `call` bound to the set's index."""
    return [partial(call, index) for index in range(sets)]
