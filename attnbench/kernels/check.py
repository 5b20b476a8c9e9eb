"""Is the result right? Asked before a case is timed, and of every working set afterwards."""

import random
from typing import TYPE_CHECKING

from attnbench.kernels.base import Prepared
from attnbench.kernels.tolerance import Deviation, compare, figures, within

if TYPE_CHECKING:
    import torch

ROWS = 64  # sampled before timing, at least
ROWS_AFTER = 256  # of all sets together after timing, at least one of each


class WrongResult(Exception):
    """An output that is not what the reference says, with the sentence how."""


def check(prepared: Prepared, seed: int) -> Deviation:
    """Poison set 0, launch it, and hold its output against the fp32 reference.

    Raises WrongResult when a row was left unwritten, is too far off, or memory that belongs to
    others was written.
    """
    prepared.poison(0)
    prepared.calls[0]()
    output = prepared.output(0)
    rows = _critical_and_random(prepared, len(output), seed)
    deviation = _compared(prepared, 0, output, rows)
    if fault := prepared.damage(0):
        raise WrongResult(fault)
    return deviation


def check_again(prepared: Prepared, launched: int, seed: int) -> None:
    """Hold the outputs that the timed launches left in the first `launched` sets to the reference.

    The outputs were poisoned before the first of them, so each was written by a timed launch. All
    sets are looked at together, each in rows of its own; only if one is wrong, each is, for the
    sentence.
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
        if fault := prepared.damage(0):
            raise WrongResult(f"after timing: {fault}")
        return
    for index, output in enumerate(outputs):
        try:
            _compared(prepared, index, output, rows[index])
        except WrongResult as wrong:
            raise WrongResult(f"after timing, in working set {index}: {wrong}") from None


def _compared(
    prepared: Prepared, index: int, output: "torch.Tensor", rows: "torch.Tensor"
) -> Deviation:
    import torch

    if unwritten := int(output.isnan().any(dim=1).sum()):
        raise WrongResult(
            f"{unwritten} of {len(output)} rows hold NaN: left unwritten, or computed from what "
            "no request owns"
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
