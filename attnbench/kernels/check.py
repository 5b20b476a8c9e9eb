"""Correctness: one working set is checked before timing, all of them after it.

Last, all of them with new inputs, which shows results that were kept from earlier calls.
"""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from attnbench.kernels.base import Prepared
from attnbench.kernels.tolerance import Deviation, compare, figures, within

if TYPE_CHECKING:
    import torch

ROWS = 64  # sampled before timing, at least
ROWS_AFTER = 256  # of all sets together after timing, at least one of each
FRESH = 2**20  # added to a round's seed for other inputs


class WrongResult(Exception):
    """The output differs from the reference; the message says how."""


def check(prepared: Prepared, seed: int) -> Deviation:
    """Poison set 0, launch it, and compare its output with the fp32 reference.

    Raises WrongResult if a row was left unwritten or is too far off, or if the call changed memory
    that it must not.
    """
    prepared.poison(0)
    prepared.calls[0]()
    output = prepared.output(0)
    rows = _critical_and_random(prepared, len(output), seed)
    deviation = _compared(prepared, 0, output, rows)
    if fault := prepared.damage(0):
        raise WrongResult(fault)
    return deviation


def check_renewed(prepared: Prepared, launch_all: Callable[[], object], seed: int) -> None:
    """Change every set's inputs in place and launch them again: the results must be new ones.

    `launch_all` launches each set by what was timed, a graph or single calls. A kernel that copies
    results kept from earlier calls fails here.
    """
    prepared.renew(seed + FRESH)
    for index in range(len(prepared.calls)):
        prepared.poison(index)
    launch_all()
    _check_sets(prepared, len(prepared.calls), seed + FRESH, "launched again with new inputs")


def check_again(prepared: Prepared, launched: int, seed: int) -> None:
    """Compare the outputs that timing left in the first `launched` sets with the reference.

    The outputs were poisoned before the first timed launch, so a timed launch wrote each of them.
    """
    _check_sets(prepared, launched, seed, "after timing")


def _check_sets(prepared: Prepared, launched: int, seed: int, when: str) -> None:
    """Compare all sets in one step, each in rows of its own.

    Only if that fails are they compared one by one, to say which is wrong.
    """
    import torch

    outputs = [prepared.output(index) for index in range(launched)]
    rows = _scattered(len(outputs[0]), launched, seed)  # [sets, rows of each]
    there = rows.to(outputs[0].device)
    got = torch.cat([output[of_set].float() for output, of_set in zip(outputs, there, strict=True)])
    sets = torch.arange(launched)[:, None].expand_as(rows)
    expected = prepared.expected(sets.flatten(), rows.flatten())
    worst = figures(got, expected, prepared.tolerance)
    # NaN anywhere makes a norm NaN, and all norms are one launch.
    holes = torch.stack(torch._foreach_norm(outputs)).isnan().any()
    *found, unwritten = torch.cat([worst, holes.double().reshape(1)]).tolist()
    if not unwritten and within(found, prepared.tolerance):
        if fault := prepared.damage(seed % launched):
            raise WrongResult(f"{when}: {fault}")
        return
    for index, output in enumerate(outputs):
        try:
            _compared(prepared, index, output, rows[index])
        except WrongResult as wrong:
            raise WrongResult(f"{when}, in working set {index}: {wrong}") from None


def _compared(
    prepared: Prepared, index: int, output: "torch.Tensor", rows: "torch.Tensor"
) -> Deviation:
    import torch

    if unwritten := int(output.isnan().any(dim=1).sum()):
        raise WrongResult(
            f"{unwritten} of {len(output)} rows hold NaN: left unwritten, or computed from "
            "memory that no request owns"
        )
    expected = prepared.expected(torch.full_like(rows, index), rows)
    deviation = compare(output[rows.to(output.device)].float(), expected, prepared.tolerance)
    if deviation.fault:
        raise WrongResult(deviation.fault)
    return deviation


def _critical_and_random(prepared: Prepared, num_rows: int, seed: int) -> "torch.Tensor":
    import torch

    drawn = random.Random(seed).sample(range(num_rows), min(ROWS, num_rows))
    return torch.tensor(list(dict.fromkeys([*prepared.critical_rows, *drawn])))


def _scattered(num_rows: int, sets: int, seed: int) -> "torch.Tensor":
    """Random rows of each set, int64 [sets, count]."""
    import torch

    count = min(max(1, ROWS_AFTER // sets), num_rows)
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(num_rows, (sets, count), generator=generator)
