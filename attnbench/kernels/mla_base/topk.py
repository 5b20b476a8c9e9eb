"""The keys that sparse attention selects, in the form a model's indexer gives the kernel."""

from typing import TYPE_CHECKING

from attnbench.kernels.groups import Group, groups_of
from attnbench.specs.batch import Batch

if TYPE_CHECKING:
    import torch

NO_KEY = -1  # in place of keys that a token does not have
STEP_ELEMENTS = 2**26  # random ranks drawn per step


def topk_indices(
    batch: Batch, sets: int, topk: int, pattern: str, generator: "torch.Generator"
) -> "torch.Tensor":
    """The positions in its own request that each new token selects: int32 [sets, tokens, topk].

    Causal and without replacement; a token that sees fewer keys selects all, then -1.
    `pattern` is random, window (the last keys) or prefix (the first).
    """
    import torch

    shape = (sets, batch.num_tokens, topk)
    found = torch.full(shape, NO_KEY, dtype=torch.int32, device=generator.device)
    for group in groups_of(batch):
        seen = _seen(group, sets, generator.device)  # [sets * count * q_len]
        most = min(topk, group.kv_len)
        if pattern == "random":
            chosen = _random(seen, group.kv_len, most, generator)
        else:
            chosen = _neighbours(seen, most, last=pattern == "window")
        found[:, group.tokens, :most] = chosen.view(sets, -1, most).int()
    return found


def _seen(group: Group, sets: int, device: "torch.device") -> "torch.Tensor":
    import torch

    of_one = torch.arange(group.kv_len - group.q_len + 1, group.kv_len + 1, device=device)
    return of_one.repeat(sets * group.count)


def _random(
    seen: "torch.Tensor", kv_len: int, most: int, generator: "torch.Generator"
) -> "torch.Tensor":
    """The keys of highest random rank, in order of rank as an indexer gives them: [rows, most]."""
    import torch

    places = torch.arange(kv_len, device=seen.device)
    chosen = []
    for part in seen.split(max(1, STEP_ELEMENTS // kv_len)):
        ranks = torch.rand((len(part), kv_len), device=seen.device, generator=generator)
        ranks.masked_fill_(places >= part[:, None], -1.0)
        highest, keys = ranks.topk(most, dim=1)
        chosen.append(keys.masked_fill(highest < 0, -1))
    return torch.cat(chosen)


def _neighbours(seen: "torch.Tensor", most: int, *, last: bool) -> "torch.Tensor":
    import torch

    keys = torch.arange(most, device=seen.device).expand(len(seen), most)
    if last:
        keys = keys + (seen[:, None] - most).clamp_min(0)
    return keys.masked_fill(keys >= seen[:, None], -1)
