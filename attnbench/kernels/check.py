"""Correctness: one working set is checked before timing, all of them after it.

Then all are launched again, and must repeat; last, with new inputs, which shows results that were
kept from earlier calls.
"""

import math
import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from attnbench.kernels.base import Prepared
from attnbench.kernels.deviation import Deviation, compare, wide

if TYPE_CHECKING:
    import torch

ROWS = 64  # sampled before timing, unless all are compared
# Of all sets together, after timing and with new inputs: of rows that share keys.
BLOCKS_AFTER, BLOCKS_RENEWED = 192, 64
PART_ELEMENTS = 2**23  # compared at once
FRESH = 2**20  # added to a round's seed for other inputs


class WrongResult(Exception):
    """The output differs from the reference; the message says how.

    `share` is by how much: the error over its tolerance, infinite for what nothing allows.
    """

    def __init__(self, message: str, share: float = math.inf) -> None:
        super().__init__(message)
        self.share = share


def check(prepared: Prepared, seed: int) -> Deviation:
    """Poison set 0, launch it, and compare its output with the fp32 reference.

    All rows are compared where that is quick, else rows of every request and of all heads that have
    keys of their own. Raises WrongResult if a row was left unwritten or is too far off, or if the
    call changed memory that it must not: a cache, or the output of set 1.
    """
    neighbour = 1 % len(prepared.calls)
    prepared.poison(neighbour)
    untouched = prepared.output(neighbour).isnan()
    prepared.poison(0)
    prepared.calls[0]()
    output = prepared.output(0)
    _require_written(output)
    rows, expected = _whole(prepared) or _sampled(prepared, len(output), seed)
    deviation = _judged(prepared, 0, output, rows, expected)
    if fault := prepared.damage(0):
        raise WrongResult(fault)
    if neighbour and not untouched.equal(prepared.output(neighbour).isnan()):
        raise WrongResult("its call writes outside its own output")
    return deviation


def require_inputs(prepared: Prepared, before: "torch.Tensor") -> None:
    """Raise WrongResult if the inputs are no longer those of which `digest` was `before`."""
    if not prepared.digest().equal(before):
        raise WrongResult("its call overwrites its inputs")


def check_repeated(prepared: Prepared, launch: Callable[[], object], sets: int) -> None:
    """Launch the first `sets` again: all their rows must come out as timing left them.

    A merge that does not wait for its splits, counters that a launch leaves to the next one and
    memory that nobody set give other rows now and then; a sample of rows would miss most of them.
    Sums in an order that varies differ by less than a row's tolerance. Where values can be negated
    in place, rows must be too, which shows results kept for the same queries; then the second half
    of the sets keep their output, which shows a call that leaves it at times. Raises WrongResult.
    """
    import torch

    before = torch.cat([prepared.output(index) for index in range(sets)])
    negated = prepared.negate_values()
    prepared.poison_sets(range(-(-sets // 2) if negated else sets))
    launch()
    after = torch.cat([prepared.output(index) for index in range(sets)])
    if negated:
        prepared.negate_values()
        after = -after
    if torch.equal(before, after):
        return
    rows = (before != after).any(dim=1)
    first, second = (wide(each[rows].float()) for each in (before, after))
    change = (second - first).norm(dim=1) / first.norm(dim=1)
    if moved := int((~(change <= prepared.tolerance.relative_l2)).sum()):
        inputs = "its values negated" if negated else "the same inputs"
        fault = "are not negated" if negated else "differ"
        raise WrongResult(f"launched again with {inputs}, {moved} of {len(before)} rows {fault}")


def check_renewed(
    prepared: Prepared, launch: Callable[[], object], sets: int, seed: int
) -> Deviation:
    """Change the inputs in place and launch the first `sets` again: the results must be new ones.

    `launch` launches them by what was timed, a graph or single calls. A kernel that copies results
    kept from earlier calls fails here, and one that leaves results which are there already.
    """
    prepared.renew(seed + FRESH)
    prepared.poison_some(sets)
    launch()
    when = "launched again with new inputs"
    return _check_sets(prepared, BLOCKS_RENEWED, sets, 2 * seed + 1, when)


def check_again(prepared: Prepared, launched: int, seed: int) -> Deviation:
    """Compare the outputs that timing left in the first `launched` sets with the reference.

    The outputs were poisoned before the first timed launch, so a timed launch wrote each of them.
    """
    return _check_sets(prepared, BLOCKS_AFTER, launched, 2 * seed, "after timing")


def _check_sets(prepared: Prepared, count: int, launched: int, seed: int, when: str) -> Deviation:
    """Compare at least `count` blocks in one step: of every set, every request and all heads.

    Another seed sends each request to another set. Only if that fails are sets compared one by one,
    to say which is wrong.
    """
    import torch

    outputs = [prepared.output(index) for index in range(launched)]
    num_rows = len(outputs[0])
    sets, rows = _spread(prepared, count, launched, seed, num_rows)
    expected = prepared.expected(sets, rows if rows.shape[1] > 1 else rows[:, 0])
    written = torch.cat(outputs).unflatten(0, (-1, rows.shape[1]))
    blocks = (sets * num_rows + rows[:, 0]) // rows.shape[1]
    got = written[blocks.to(written.device)].flatten(0, 1)
    deviation = compare(got.float(), expected, prepared.tolerance)
    unwritten = math.isnan(written.norm())  # NaN anywhere makes it NaN
    if not unwritten and not deviation.fault:
        if fault := prepared.damage(seed % launched):
            raise WrongResult(f"{when}: {fault}")
        return deviation
    for index, output in enumerate(outputs):
        try:
            _require_written(output)
            mine = sets == index
            references = expected.unflatten(0, rows.shape)[mine].flatten(0, 1)
            _judged(prepared, index, output, rows[mine].flatten(), references)
        except WrongResult as wrong:
            sentence = f"{when}, in working set {index}: {wrong}"
            raise WrongResult(sentence, wrong.share) from None
    raise WrongResult(f"{when}: {deviation.fault}", deviation.share)


def _spread(
    prepared: Prepared, count: int, launched: int, seed: int, num_rows: int
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Different rows [n, m], at least one of each launched set, and the set [n] of each block.

    All of them where they are no more. Requests come in turn and their number may have a factor in
    common with that of sets, so each time that all sets have had a block their order is another
    one, drawn once for all seeds. The next seed sends each block to the set after.
    """
    import torch

    rows = prepared.spread(max(count, launched), seed)
    every = num_rows // rows.shape[1]
    if every * launched <= len(rows):
        blocks = torch.arange(num_rows).view(-1, rows.shape[1])
        return torch.arange(launched).repeat_interleave(every), blocks.repeat(launched, 1)
    generator = torch.Generator().manual_seed(0)
    order = torch.rand((-(-len(rows) // launched), launched), generator=generator).argsort(1)
    sets = (order.numpy().flatten()[: len(rows)] + seed) % launched
    _, once = np.unique(rows[:, 0].numpy() * launched + sets, return_index=True)
    return torch.from_numpy(sets[once]), torch.from_numpy(rows.numpy()[once])


def _require_written(output: "torch.Tensor") -> None:
    if unwritten := int(output.isnan().any(dim=1).sum()):
        raise WrongResult(
            f"{unwritten} of {len(output)} rows hold NaN: left unwritten, an overflow, or "
            "computed from memory that no request owns"
        )


def _place(prepared: Prepared, rows: "torch.Tensor", at: int) -> str:
    return prepared.place(int(rows[at]))


def _judged(
    prepared: Prepared,
    index: int,
    output: "torch.Tensor",
    rows: "torch.Tensor",
    expected: "torch.Tensor",
) -> Deviation:
    """The worst deviation of these rows of a set's output.

    Raises WrongResult; it says so if a launch of this set alone is right, as after a race.
    """
    try:
        return _compared(prepared, output, rows, expected)
    except WrongResult as wrong:
        if not _is_right_alone(prepared, index, rows, expected):
            raise
        sentence = f"{wrong}; a launch of this set alone is right"
        raise WrongResult(sentence, wrong.share) from None


def _is_right_alone(
    prepared: Prepared, index: int, rows: "torch.Tensor", expected: "torch.Tensor"
) -> bool:
    """Whether these rows of a set are right once it alone is launched again."""
    prepared.poison(index)
    try:
        prepared.calls[index]()
        _compared(prepared, prepared.output(index), rows, expected)
    except Exception:  # noqa: BLE001 - whatever it raises, the launch before was wrong
        return False
    return True


def _compared(
    prepared: Prepared, output: "torch.Tensor", rows: "torch.Tensor", expected: "torch.Tensor"
) -> Deviation:
    """The worst deviation of these rows, in equal parts, as comparing takes fp64."""
    parts = -(-expected.numel() // PART_ELEMENTS)
    found = [
        compare(
            output[at.to(output.device)].float(),
            reference,
            prepared.tolerance,
            partial(_place, prepared, at),
        )
        for at, reference in zip(rows.chunk(parts), expected.chunk(parts), strict=True)
    ]
    if wrong := next((each for each in found if each.fault), None):
        raise WrongResult(str(wrong.fault), wrong.share)
    return Deviation(
        max(each.max_abs for each in found),
        max(each.relative_l2 for each in found),
        max(each.cosine for each in found),
        max(each.share for each in found),
        None,
    )


def _whole(prepared: Prepared) -> "tuple[torch.Tensor, torch.Tensor] | None":
    """All rows of set 0 with their reference, if that is quick and there is room for it."""
    import torch

    try:
        return prepared.whole(0)
    except torch.OutOfMemoryError:
        return None


def _sampled(prepared: Prepared, num_rows: int, seed: int) -> "tuple[torch.Tensor, torch.Tensor]":
    """The critical rows, rows of all requests and heads, and random ones, with their reference."""
    import torch

    drawn = random.Random(seed).sample(range(num_rows), min(ROWS, num_rows))
    single = torch.tensor(sorted({*prepared.critical_rows, *drawn}))
    blocks = prepared.spread(0, seed)
    both = [rows for rows in (blocks if blocks.shape[1] > 1 else blocks[:, 0], single) if len(rows)]
    found = [prepared.expected(torch.zeros(len(rows), dtype=torch.int64), rows) for rows in both]
    return torch.cat([rows.flatten() for rows in both]), torch.cat(found)
