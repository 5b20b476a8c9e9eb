"""Faults in the keys that a row sees: masks, pages, windows, splits."""

from typing import TYPE_CHECKING, Any

from attnbench.kernels.arithmetic import attend
from attnbench.kernels.mutants.arithmetic import (
    attending,
    computed_with,
    context_and_new,
    contexts_of,
    seeing,
    split,
)
from attnbench.kernels.mutants.fault import Fault
from attnbench.kernels.mutants.rows import in_first_request, in_last_head, in_middle_request

if TYPE_CHECKING:
    import torch

    from attnbench.kernels.mutants.arithmetic import Sees
    from attnbench.kernels.reference import AttentionPrepared

PAGE, TILE = 16, 128


def lost(first: int, count: int = 1) -> "Sees":
    """Without `count` keys: from key `first` on, or from the end if negative."""

    def sees(
        visible: "torch.Tensor", places: "torch.Tensor", seen: "torch.Tensor"
    ) -> "torch.Tensor":
        start = first if first >= 0 else seen + first
        return visible & ~((places >= start) & (places < start + count))

    return sees


def split_size(length: int, count: int) -> int:
    """The keys of each of `count` equal splits of whole tiles, pages for few keys."""
    tile = TILE if length > 4 * TILE else PAGE
    return -(-length // (count * tile)) * tile


def lost_at_quarter(which: int) -> "Sees":
    """Without the first key of that quarter, as splits of whole tiles cut them."""

    def sees(
        visible: "torch.Tensor", places: "torch.Tensor", seen: "torch.Tensor"
    ) -> "torch.Tensor":
        return visible & (places != which * split_size(len(places), 4))

    return sees


def lost_at_splits(count: int) -> "Sees":
    """Without the first key of each of so many splits of whole tiles but the first."""

    def sees(
        visible: "torch.Tensor", places: "torch.Tensor", seen: "torch.Tensor"
    ) -> "torch.Tensor":
        return visible & ((places % split_size(len(places), count) != 0) | (places == 0))

    return sees


def lost_in_pages(offset: int) -> "Sees":
    """Without the key at that place of each page."""

    def sees(
        visible: "torch.Tensor", places: "torch.Tensor", seen: "torch.Tensor"
    ) -> "torch.Tensor":
        return visible & (places % PAGE != offset)

    return sees


def last_page_lost(
    visible: "torch.Tensor", places: "torch.Tensor", seen: "torch.Tensor"
) -> "torch.Tensor":
    """Without the keys of the page that a row's newest is in."""
    return visible & (places < (seen - 1) // PAGE * PAGE)


def too_many(
    visible: "torch.Tensor", places: "torch.Tensor", seen: "torch.Tensor"
) -> "torch.Tensor":
    """With the next token's key, where the request has one."""
    return visible | (places == seen)


def all_of_request(
    visible: "torch.Tensor", places: "torch.Tensor", seen: "torch.Tensor"
) -> "torch.Tensor":
    """As without a causal mask."""
    return visible | (places >= seen)


def top_left(prepared: "AttentionPrepared") -> None:
    """A causal mask that begins at the first key, as if there were no context."""
    contexts = contexts_of(prepared)

    def wrong(query: Any, keys: Any, values: Any, seen: Any, *rest: Any, **more: Any) -> Any:
        fewer = seen - contexts.get(keys.shape[1], 0)
        return attend(query, keys, values, fewer, *rest, **more)

    prepared.attend = wrong


def wider(visible: "torch.Tensor", places: "torch.Tensor", seen: "torch.Tensor") -> "torch.Tensor":
    """With the key in front of the window."""
    first = visible.int().argmax(-1, keepdim=True)
    return visible | (places == first - 1)


def narrower(
    visible: "torch.Tensor", places: "torch.Tensor", seen: "torch.Tensor"
) -> "torch.Tensor":
    """Without the first key of the window."""
    first = visible.int().argmax(-1, keepdim=True)
    return visible & ((places != first) | (first == 0))


def in_whole_tiles(
    visible: "torch.Tensor", places: "torch.Tensor", seen: "torch.Tensor"
) -> "torch.Tensor":
    """With the keys in front of the window that share a tile with it."""
    first = visible.int().argmax(-1, keepdim=True)
    return visible | ((places < first) & (places >= first // TILE * TILE))


def of_last_token(
    visible: "torch.Tensor", places: "torch.Tensor", seen: "torch.Tensor"
) -> "torch.Tensor":
    """From where the window of the request's last token begins."""
    first = visible.int().argmax(-1, keepdim=True)
    window = seen - first
    return visible & ((first == 0) | (places >= len(places) - window))


def page_twice(given: dict[str, Any]) -> dict[str, Any]:
    """The second page of keys and values in place of the first too."""
    if given["keys"].shape[1] < 2 * PAGE:
        return given
    copied = {name: given[name].clone() for name in ("keys", "values")}
    for each in copied.values():
        each[:, :PAGE] = each[:, PAGE : 2 * PAGE]
    return given | copied


def foreign_page(given: dict[str, Any]) -> dict[str, Any]:
    """Another request's data in the page in the middle."""
    import torch

    at = given["keys"].shape[1] // 2 // PAGE * PAGE
    copied = {name: given[name].clone() for name in ("keys", "values")}
    for each in copied.values():
        part = each[:, at : at + PAGE]
        part.copy_(torch.randn(part.shape, device=part.device))
    return given | copied


def shifted_values(given: dict[str, Any]) -> dict[str, Any]:
    """The values of the next token with each key."""
    return given | {"values": given["values"].nan_to_num().roll(-1, 1)}


def all_but(which: int) -> "Any":
    """All splits but one, as if it were not there."""

    def merge(sums: "torch.Tensor", results: "torch.Tensor") -> "torch.Tensor":
        kept = sums.clone()
        kept[which] = float("-inf")
        return kept.softmax(0).nan_to_num()

    return merge


def averaged(sums: "torch.Tensor", results: "torch.Tensor") -> "torch.Tensor":
    """Without the log-sum-exps."""
    filled = sums.isfinite().float()
    return filled / filled.sum(0)


def rounded_sums(sums: "torch.Tensor", results: "torch.Tensor") -> "torch.Tensor":
    """With log-sum-exps in bf16."""
    return sums.bfloat16().float().softmax(0)


def base_two(sums: "torch.Tensor", results: "torch.Tensor") -> "torch.Tensor":
    """With 2 in place of e."""
    return (sums * 0.6931).softmax(0)


def tiles(count: int, places: "torch.Tensor", seen: "torch.Tensor", context: int) -> "torch.Tensor":
    """Splits of a tile each, of which short requests fill few; the last one has the rest."""
    return (places // TILE).clamp_max(count - 1).expand(*seen.shape[:-1], -1)


def empty_as_zero(sums: "torch.Tensor", results: "torch.Tensor") -> "torch.Tensor":
    """With a log-sum-exp of 0 of splits without keys."""
    return sums.where(sums.isfinite(), 0.0).softmax(0)


KEY_FAULTS = (
    Fault("newest key lost", seeing(lost(-1))),
    Fault("newest key lost, first request only", seeing(lost(-1), in_first_request)),
    Fault("newest key lost, a request in the middle only", seeing(lost(-1), in_middle_request)),
    Fault("newest key lost, last head only", seeing(lost(-1), in_last_head)),
    Fault("newest two keys lost", seeing(lost(-2, 2))),
    Fault("first key lost", seeing(lost(0))),
    Fault("next token's key seen", seeing(too_many)),
    Fault("no causal mask", seeing(all_of_request)),
    Fault("causal mask from the top left", computed_with(top_left)),
    Fault("window one key wider", seeing(wider)),
    Fault("window one key narrower", seeing(narrower)),
    Fault("window in whole tiles", seeing(in_whole_tiles)),
    Fault("window of the last token for all", seeing(of_last_token)),
    Fault("window ignored", attending(lambda given: given | {"window": None})),
    Fault("first page lost", seeing(lost(0, PAGE))),
    Fault("last page lost", seeing(last_page_lost)),
    Fault("last key of each page lost", seeing(lost_in_pages(PAGE - 1))),
    Fault("first key of each page lost", seeing(lost_in_pages(0))),
    Fault("first page read twice, the second never", attending(page_twice)),
    Fault("a page of another request", attending(foreign_page)),
    Fault("values of the next token", attending(shifted_values)),
    Fault("last 64 keys lost", seeing(lost(-64, 64))),
    Fault("first key of the second of 4 splits lost", seeing(lost_at_quarter(1))),
    Fault("first key of the third of 4 splits lost", seeing(lost_at_quarter(2))),
    *(
        Fault(f"first keys of {count} splits lost", seeing(lost_at_splits(count)))
        for count in (2, 7, 8, 13)
    ),
    Fault("first of 2 splits dropped", split(2, all_but(0))),
    Fault("last of 8 splits dropped", split(8, all_but(7))),
    Fault("one of 32 splits dropped", split(32, all_but(11))),
    Fault("8 splits merged without log-sum-exps", split(8, averaged)),
    Fault("8 splits merged with log-sum-exps in bf16", split(8, rounded_sums)),
    Fault("8 splits merged to base 2", split(8, base_two)),
    Fault("empty splits of 32 merged as zeros", split(32, empty_as_zero, tiles)),
    Fault("context and new tokens merged to base 2", split(2, base_two, context_and_new)),
)
