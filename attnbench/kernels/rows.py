"""Output rows as the reference takes them: in steps, and together where they share keys."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from attnbench.kernels.groups import Group
from attnbench.specs.batch import Batch

if TYPE_CHECKING:
    import torch

# Most elements of gathered keys, or of scores, in one step of the reference: 128 MiB in fp32.
STEP_ELEMENTS = 2**25


@dataclass(frozen=True, slots=True)
class Rows:
    """Output rows of equal requests: n rows, or n blocks of m that share keys."""

    group: Group  # theirs, or the longest of several that are taken as if as long
    sets: "torch.Tensor"  # int64 [n], the working set
    requests: "torch.Tensor"  # int64 [n], in the batch
    tokens: "torch.Tensor"  # int64 [n] or [n, m], among the batch's new tokens
    heads: "torch.Tensor"  # the same
    seen: "torch.Tensor"  # the same; number of keys that each row sees

    @classmethod
    def of_blocks(cls, group: Group, first: "torch.Tensor", beside: "torch.Tensor | None") -> Self:
        """From the set, request, token, head and number of keys of each block's first row.

        They are int64 [5, n]. `beside` is how many tokens and heads each row of a block is further,
        int64 [2, m]; None for single rows.
        """
        sets, requests, *rows = first
        if beside is None:
            return cls(group, sets, requests, *rows)
        tokens, heads, seen = (each[:, None] for each in rows)
        within, further = beside
        return cls(group, sets, requests, tokens + within, heads + further, seen + within)

    @property
    def most_seen(self) -> int:
        """The most keys that a row of the group can see."""
        return self.group.kv_len

    @property
    def sets_of_rows(self) -> "torch.Tensor":
        """The working set beside each row: [n] or [n, 1]."""
        return self.beside_rows(self.sets)

    @property
    def first_heads(self) -> "torch.Tensor":
        """The head of each row, or the first of each block: [n]."""
        return self.heads if self.heads.ndim == 1 else self.heads[:, 0]

    @property
    def first_tokens(self) -> "torch.Tensor":
        """The token of each row, or the first of each block: [n]."""
        return self.tokens if self.tokens.ndim == 1 else self.tokens[:, 0]

    def beside_rows(self, each: "torch.Tensor") -> "torch.Tensor":
        """A value [n] for each row or block, to stand beside the rows: [n] or [n, 1]."""
        return each if self.tokens.ndim == 1 else each[:, None]

    def steps(self, key_dim: int, beside: int = 0) -> "Iterator[Rows]":
        """The rows in parts, each with few enough gathered elements and scores for one step.

        `beside` is how many elements are gathered for each row or block beside its keys.
        """
        of_each = self.most_seen * (key_dim + self.tokens[:1].numel()) + beside
        size = max(1, STEP_ELEMENTS // of_each)
        if len(self.sets) <= size:
            yield self
            return
        each = (self.sets, self.requests, self.tokens, self.heads, self.seen)
        for parts in zip(*(tensor.split(size) for tensor in each), strict=True):
            yield Rows(self.group, *parts)


@dataclass(frozen=True, slots=True)
class Sharing:
    """Neighbours of which every query sees the same keys: a block of the reference."""

    heads: int
    tokens: int

    @classmethod
    def of(cls, group: Group, heads: int, tokens: int) -> "Sharing":
        """At most so many, and as few tokens as leave the scores small."""
        most = STEP_ELEMENTS // 8 // (heads * group.kv_len)
        return cls(heads, max(1, min(tokens, most)))

    def count(self, group: Group, num_heads: int) -> int:
        """The number of blocks of a group in one working set."""
        return group.count * -(-group.q_len // self.tokens) * (num_heads // self.heads)

    def blocks(self, group: Group, index: int, num_heads: int, device: str) -> Rows:
        """All rows of a group in set `index`; the last tokens of a request may be twice in them."""
        import torch

        starts = np.arange(0, group.q_len, self.tokens).clip(max=group.q_len - self.tokens)
        heads = np.arange(0, num_heads, self.heads)
        every = np.meshgrid(np.arange(group.count), starts, heads, indexing="ij")
        requests, within, head = (each.ravel() for each in every)
        tokens = group.first_token + requests * group.q_len + within
        seen = group.kv_len - group.q_len + within + 1
        first = [np.full_like(head, index), group.first + requests, tokens, head, seen]
        placed = torch.from_numpy(np.stack(first)).to(device)
        return Rows.of_blocks(group, placed, self.beside(device))

    def beside(self, device: str) -> "torch.Tensor":
        """How many tokens and heads each row of a block is further than the first: int64 [2, m]."""
        import torch

        tokens = np.arange(self.tokens).repeat(self.heads)
        heads = np.tile(np.arange(self.heads), self.tokens)
        return torch.from_numpy(np.stack([tokens, heads])).to(device)

    def of_single_tokens(self, groups: Sequence[Group], num_heads: int) -> "torch.Tensor":
        """All rows of groups with one new token a request: int64 [blocks, heads] on the CPU."""
        import torch

        tokens = torch.cat([torch.arange(each.tokens.start, each.tokens.stop) for each in groups])
        first = tokens[:, None] * num_heads + torch.arange(0, num_heads, self.heads)
        return first.view(-1, 1) + torch.arange(self.heads)


def critical_rows(batch: Batch, num_heads: int, block_size: int) -> Sequence[int]:
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
