"""Faults in the output of any kernel, and in calls that do less than they should."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from attnbench.kernels.base import Prepared
from attnbench.kernels.mutants.fault import Fault, Plant
from attnbench.kernels.mutants.planting import Planting
from attnbench.kernels.reference import AttentionPrepared

if TYPE_CHECKING:
    import torch

# Changes a copy of an output [rows, width] of a prepared attention in place.
Change = Callable[[AttentionPrepared, "torch.Tensor"], None]


def changed_by(change: Change) -> Plant:
    """A kernel whose output is changed afterwards."""

    def plant(planting: Planting) -> Prepared | None:
        honest = planting.prepared
        if not isinstance(honest, AttentionPrepared):
            return None
        before = honest.output(0)
        after = before.clone()
        change(honest, after)
        if before.equal(after):
            return None

        def output(index: int) -> "torch.Tensor":
            result = honest.output(index).clone()
            change(honest, result)
            return result

        return planting.mutant(output=output)

    return plant


def swap_heads(prepared: AttentionPrepared, out: "torch.Tensor") -> None:
    """The first two heads."""
    if prepared.num_heads > 1:
        by_head = out.unflatten(0, (-1, prepared.num_heads))
        by_head[:, :2] = by_head[:, :2].flip(1)


def swap_requests(prepared: AttentionPrepared, out: "torch.Tensor") -> None:
    """The last two requests, where all are alike."""
    if len(prepared.batch) > 1 and len(prepared.groups) == 1:
        by_request = out.unflatten(0, (len(prepared.batch), -1))
        by_request[-2:] = by_request[-2:].flip(0)


def copy_request(prepared: AttentionPrepared, out: "torch.Tensor") -> None:
    """The first request's output as that of the one in the middle."""
    if len(prepared.batch) > 1 and len(prepared.groups) == 1:
        by_request = out.unflatten(0, (len(prepared.batch), -1))
        by_request[len(prepared.batch) // 2] = by_request[0]


def swap_tokens(prepared: AttentionPrepared, out: "torch.Tensor") -> None:
    """The first two new tokens."""
    if prepared.batch.num_tokens > 1:
        by_token = out.unflatten(0, (-1, prepared.num_heads))
        by_token[:2] = by_token[:2].flip(0)


def swap_halves(prepared: AttentionPrepared, out: "torch.Tensor") -> None:
    """The two halves of each head."""
    out.copy_(out.roll(out.shape[1] // 2, 1))


def zero_head(prepared: AttentionPrepared, out: "torch.Tensor") -> None:
    """One head of the last request."""
    rows = prepared.batch.requests[-1].q_len * prepared.num_heads
    out[-rows:].unflatten(0, (-1, prepared.num_heads))[:, prepared.num_heads // 2] = 0


def nan_row(prepared: AttentionPrepared, out: "torch.Tensor") -> None:
    """A row in the middle."""
    out[len(out) // 2] = float("nan")


def wrong_element(prepared: AttentionPrepared, out: "torch.Tensor") -> None:
    """The last element of each row, which has its neighbour's value."""
    out[:, -1] = out[:, -2]


def tile(prepared: AttentionPrepared, out: "torch.Tensor") -> None:
    """The first 128 new tokens of one head have the output of the tokens behind them."""
    by_token = out.unflatten(0, (-1, prepared.num_heads))
    if len(by_token) >= 256:
        by_token[:128, -1] = by_token[128:256, -1]


def zero(prepared: AttentionPrepared, out: "torch.Tensor") -> None:
    """Everything."""
    out.zero_()


def of_next_set(planting: Planting) -> Prepared | None:
    """Every call's output is that of the next set."""
    honest = planting.prepared
    sets = len(honest.calls)
    if sets == 1 or not isinstance(honest, AttentionPrepared):
        return None
    for call in honest.calls:
        call()
    return planting.mutant(output=lambda index: honest.output((index + 1) % sets))


def first_set_alone(planting: Planting) -> Prepared | None:
    """Only the first call launches."""
    calls = planting.prepared.calls
    return planting.mutant(call=lambda index: None if index else calls[0]())


def last_set_wrong(planting: Planting) -> Prepared | None:
    """The last set's call leaves the output of the first, but for the poison."""
    honest = planting.prepared
    last = len(honest.calls) - 1
    if last == 0 or not isinstance(honest, AttentionPrepared):
        return None
    return planting.mutant(output=lambda index: honest.output(0 if index == last else index))


def kept(planting: Planting) -> Prepared | None:
    """Each set computes once and copies that result back when called again."""
    honest = planting.prepared
    if not isinstance(honest, AttentionPrepared):
        return None
    held: dict[int, torch.Tensor] = {}

    def call(index: int) -> None:
        if index not in held:
            honest.calls[index]()
            held[index] = honest.output(index).clone()

    return planting.mutant(call=call, output=lambda i: held.get(i, honest.output(i)))


def head_of_last_set(planting: Planting) -> Prepared | None:
    """In the last set alone, a head of the last request is zero."""
    honest = planting.prepared
    last = len(honest.calls) - 1
    if last == 0 or not isinstance(honest, AttentionPrepared):
        return None

    def output(index: int) -> "torch.Tensor":
        result = honest.output(index)
        if index == last:
            result = result.clone()
            zero_head(honest, result)
        return result

    return planting.mutant(output=output)


def left_at_times(planting: Planting) -> Prepared | None:
    """Two of three launches of a set leave its output as it is, unless it is poisoned."""
    honest = planting.prepared
    if not isinstance(honest, AttentionPrepared):
        return None
    launches = [0] * len(honest.calls)

    def call(index: int) -> None:
        launches[index] += 1
        if launches[index] % 3 == 1 or bool(honest.output(index).isnan().any()):
            honest.calls[index]()

    return planting.mutant(call=call)


def beyond(planting: Planting) -> Prepared | None:
    """Every call also writes the first row of the next set's output."""
    honest = planting.prepared
    sets = len(honest.calls)
    if sets == 1 or not isinstance(honest, AttentionPrepared):
        return None
    honest.output(1)[0] = 1.0
    if not bool((honest.output(1)[0] == 1.0).all()):  # a copy, as of quantised outputs
        return None

    def call(index: int) -> None:
        honest.calls[index]()
        honest.output((index + 1) % sets)[0] = honest.output(index)[-1]

    return planting.mutant(call=call)


def now_and_then(planting: Planting) -> Prepared | None:
    """Every third launch of a set leaves its middle row wrong, as splits and merges that race."""
    honest = planting.prepared
    if not isinstance(honest, AttentionPrepared):
        return None
    launches = [0] * len(honest.calls)

    def call(index: int) -> None:
        launches[index] += 1
        honest.calls[index]()

    def output(index: int) -> "torch.Tensor":
        result = honest.output(index).clone()
        if launches[index] and launches[index] % 3 == 0:
            result[len(result) // 2] *= -1
        return result

    return planting.mutant(call=call, output=output)


RESULT_FAULTS = (
    Fault("two heads swapped", changed_by(swap_heads)),
    Fault("two requests swapped", changed_by(swap_requests)),
    Fault("a request has another's output", changed_by(copy_request)),
    Fault("two tokens swapped", changed_by(swap_tokens)),
    Fault("halves of each head swapped", changed_by(swap_halves)),
    Fault("one head of the last request zero", changed_by(zero_head)),
    Fault("NaN in one row", changed_by(nan_row)),
    Fault("one element of each row wrong", changed_by(wrong_element)),
    Fault("one tile of 128 rows of one head wrong", changed_by(tile)),
    Fault("zeros", changed_by(zero)),
    Fault("output of another set", of_next_set),
    Fault("only the first set launched", first_set_alone),
    Fault("last set has the first one's output", last_set_wrong),
    Fault("one head of a request zero in the last set", head_of_last_set),
    Fault("results kept from the first call", kept),
    Fault("two of three launches leave the output", left_at_times),
    Fault("a row of the next set's output written too", beyond),
    Fault("one row wrong in every third launch", now_and_then),
)
