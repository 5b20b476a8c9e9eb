"""Faults in what attention reads and computes, planted through the fp32 reference."""

import math
from collections.abc import Callable, Iterable
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from attnbench.kernels.arithmetic import attend, visible_keys
from attnbench.kernels.base import Prepared
from attnbench.kernels.mutants.fault import Plant
from attnbench.kernels.mutants.planting import Planting
from attnbench.kernels.reference import AttentionPrepared

if TYPE_CHECKING:
    import torch

LEAST = 1e-4  # that a fault changes somewhere; sums in another order change less
# Makes the copy wrong, which serves as the reference of the mutant.
Alter = Callable[[Any], None]
# Which of the looked at rows have the fault, bool [n]: of a prepared case and rows int64 [n].
Where = Callable[[AttentionPrepared, "torch.Tensor"], "torch.Tensor"]
# The keys that rows see, bool [n, k] or [n, m, k]: from those that they should, places int64 [k]
# and the number of each row's keys, int64 [n, 1] or [n, m, 1].
Sees = Callable[["torch.Tensor", "torch.Tensor", "torch.Tensor"], "torch.Tensor"]
# The split of each key, int64 [n, k] or [n, m, k]: from the number of splits, places and numbers of
# keys as above, and the number of keys in front of the new tokens.
Parts = Callable[[int, "torch.Tensor", "torch.Tensor", int], "torch.Tensor"]
# The weight of each split, [splits, n], from the log-sum-exps [splits, n] and results
# [splits, n, d] of all that see a key.
Merge = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]


def computed_with(alter: Alter, where: Where | None = None) -> Plant:
    """A kernel that computes what the reference does after `alter`, in all rows or some."""

    def plant(planting: Planting) -> Prepared | None:
        honest = planting.prepared
        if not isinstance(honest, AttentionPrepared):
            return None
        wrong = copy(honest)
        alter(wrong)
        if where is None and not bool((planting.difference(wrong, 0)[1].abs() > LEAST).any()):
            return None

        def output(index: int) -> "torch.Tensor":
            rows, off = planting.difference(wrong, index)
            if where is not None:
                off = off * where(honest, rows.cpu()).to(off.device)[:, None]
            result, there = honest.output(index).clone(), rows.to(off.device)
            result[there] = (result[there].float() + off).to(result.dtype)
            return result

        return planting.mutant(output=output)

    return plant


def seeing(sees: Sees, where: Where | None = None) -> Plant:
    """A kernel whose rows see other keys; what they see of memory that nobody owns is zero."""

    def visible(keys: "torch.Tensor", seen: "torch.Tensor", window: int | None) -> "torch.Tensor":
        import torch

        places = torch.arange(keys.shape[1], device=keys.device)
        return sees(visible_keys(keys, seen, window), places, seen[..., None])

    def wrong(
        query: "torch.Tensor",
        keys: "torch.Tensor",
        values: "torch.Tensor",
        *more: Any,
        **named: Any,
    ) -> "torch.Tensor":
        known = keys.nan_to_num(), values.nan_to_num()
        return attend(query, *known, *more, visible=visible, **named)

    return computed_with(lambda prepared: setattr(prepared, "attend", wrong), where)


def attending(
    change: "Callable[[dict[str, Any]], dict[str, Any]]", where: Where | None = None
) -> Plant:
    """A kernel that computes with other arguments of `attend`, of those by name."""
    names = ("query", "keys", "values", "seen", "scale")

    def wrong(*arguments: Any, **more: Any) -> "torch.Tensor":
        return attend(**change({**dict(zip(names, arguments, strict=True)), **more}))

    return computed_with(lambda prepared: setattr(prepared, "attend", wrong), where)


def scaled(name: str, factor: float) -> Plant:
    """A kernel that multiplies that argument of attention."""
    return attending(lambda given: {**given, name: given[name] * factor})


def without(name: str) -> Plant:
    """A kernel that ignores that option of attention."""
    return attending(lambda given: {**given, name: None})


def equal_parts(
    count: int, places: "torch.Tensor", seen: "torch.Tensor", context: int
) -> "torch.Tensor":
    """Each row's keys in equal parts."""
    return places // -(-seen // count)


def context_and_new(
    count: int, places: "torch.Tensor", seen: "torch.Tensor", context: int
) -> "torch.Tensor":
    """The cached context, and the new tokens."""
    return (places >= context).long().expand(*seen.shape[:-1], -1)


def contexts_of(prepared: AttentionPrepared) -> dict[int, int]:
    """The number of keys in front of the new tokens, by the number of all keys."""
    return {group.kv_len: group.kv_len - group.q_len for group in prepared.groups}


def split(count: int, merge: Merge, parts: Parts = equal_parts) -> Plant:
    """A kernel that cuts keys into `count` splits and merges their results its own way.

    With a window, a soft cap or sinks nothing is wrong.
    """

    def wrong(
        contexts: dict[int, int],
        query: "torch.Tensor",
        keys: "torch.Tensor",
        values: "torch.Tensor",
        seen: "torch.Tensor",
        scale: float,
        **more: Any,
    ) -> "torch.Tensor":
        import torch

        if any(each is not None for each in more.values()):
            return attend(query, keys, values, seen, scale, **more)
        places = torch.arange(keys.shape[1], device=keys.device)
        part = parts(count, places, seen[..., None], contexts.get(keys.shape[1], 0))
        scores = torch.einsum("n...d,nkd->n...k", query.float(), keys.float()) * scale
        masks = ((part != at) | (places >= seen[..., None]) for at in range(count))
        sums, results = _of_splits(scores, values.float().nan_to_num(), masks)
        return (merge(sums, results)[..., None] * results).sum(0)

    def alter(prepared: AttentionPrepared) -> None:
        prepared.attend = partial(wrong, contexts_of(prepared))

    return computed_with(alter)


def _of_splits(
    scores: "torch.Tensor", values: "torch.Tensor", masks: Iterable["torch.Tensor"]
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Log-sum-exps and results of splits, each with the mask of the keys that it lacks."""
    import torch

    sums, results = [], []
    for mask in masks:
        mine = scores.masked_fill(mask, -math.inf)
        sums.append(mine.logsumexp(-1))
        results.append(torch.einsum("n...k,nkd->n...d", mine.softmax(-1).nan_to_num(), values))
    return torch.stack(sums), torch.stack(results)
