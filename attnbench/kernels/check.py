"""Is the result right? Asked before a case is timed, and of every working set afterwards."""

import random
from typing import TYPE_CHECKING

from attnbench.kernels.base import Prepared
from attnbench.kernels.tolerance import Deviation, compare, figures, within

if TYPE_CHECKING:
    import torch

ROWS = 64  # sampled before timing, at least
ROWS_AFTER = 256  # of all sets together after timing, up to 8 and at least one of each


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
    rows = _sampled(prepared, len(output), ROWS, seed)
    deviation = _compared(prepared, 0, output, rows)
    if fault := prepared.damage(0):
        raise WrongResult(fault)
    return deviation


def check_again(prepared: Prepared, launched: int, seed: int) -> None:
    """Hold the outputs that the timed launches left in the first `launched` sets to the reference.

    The outputs were poisoned before the first of them, so each was written by a timed launch. All
    sets are looked at together; only if one is wrong, each is, for the sentence.
    """
    import torch

    count = min(8, max(1, ROWS_AFTER // launched))
    outputs = [prepared.output(index) for index in range(launched)]
    rows = _sampled(prepared, len(outputs[0]), count, seed)[-count:]
    there = rows.to(outputs[0].device)
    got = torch.cat([output[there].float() for output in outputs])
    expected = torch.cat([prepared.expected(index, rows) for index in range(launched)])
    unwritten = torch.stack([output.isnan().any() for output in outputs]).any()
    worst = figures(got, expected, prepared.tolerance)
    *found, holes = torch.cat([worst, unwritten.double().reshape(1)]).tolist()
    if not holes and within(found, prepared.tolerance):
        return
    for index, output in enumerate(outputs):
        try:
            _compared(prepared, index, output, rows)
        except WrongResult as wrong:
            raise WrongResult(f"after timing, in working set {index}: {wrong}") from None


def _compared(
    prepared: Prepared, index: int, output: "torch.Tensor", rows: "torch.Tensor"
) -> Deviation:
    if unwritten := int(output.isnan().any(dim=1).sum()):
        raise WrongResult(
            f"{unwritten} of {len(output)} rows hold NaN: left unwritten, or computed from what "
            "no request owns"
        )
    expected = prepared.expected(index, rows)
    deviation = compare(output[rows.to(output.device)].float(), expected, prepared.tolerance)
    if deviation.fault:
        raise WrongResult(deviation.fault)
    return deviation


def _sampled(prepared: Prepared, num_rows: int, count: int, seed: int) -> "torch.Tensor":
    """The critical rows, then random ones, as int64."""
    import torch

    critical = list(dict.fromkeys(prepared.critical_rows))
    drawn = random.Random(seed).sample(range(num_rows), min(count, num_rows))
    return torch.tensor(list(dict.fromkeys(critical + drawn)))
