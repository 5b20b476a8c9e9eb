"""Mutants of a prepared case, and one round's checks of them without timing.

A mutant launches the honest kernel and changes its result by what the fault makes of it: the
difference between the reference with the fault and the reference without, so the kernel's own
rounding stays. That difference is computed only for rows that the check compares: all of set 0
where it takes them all, else those that a round of the honest kernel asked for.
"""

import math
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from attnbench.kernels.base import Prepared
from attnbench.kernels.cache_write_base.prepared import CacheWrite
from attnbench.kernels.check import (
    FRESH,
    WrongResult,
    check,
    check_again,
    check_renewed,
    check_repeated,
)
from attnbench.kernels.tolerance import ROW
from attnbench.specs.case import Case

if TYPE_CHECKING:
    import torch

Output = Callable[[int], "torch.Tensor"]  # of a set, as Prepared.output
Call = Callable[[int], object]  # of a set

_renewals = count(1)  # of the process: each draws other inputs


@dataclass(frozen=True, slots=True)
class Planting:
    """A case whose honest kernel passes a round's checks."""

    case: Case
    prepared: Prepared
    seed: int
    share: float  # of its tolerance, the honest kernel's largest error
    compared: "list[tuple[torch.Tensor, torch.Tensor]]"  # sets and rows, as `expected` takes them
    known: dict[tuple[Any, Any], Any] = field(default_factory=dict)  # results, until inputs change

    @classmethod
    def of(cls, case: Case, prepare: Callable[[], Prepared], seed: int) -> "Planting":
        """Prepares twice, as the honest round leaves other inputs than it began with.

        Raises WrongResult if the honest kernel fails.
        """
        share, compared = _recorded(prepare(), seed)
        return cls(case, prepare(), seed, share, compared)

    def mutant(self, *, output: Output | None = None, call: Call | None = None) -> Prepared:
        """The prepared case with another output, or other calls, or both."""
        given: dict[str, Any] = {} if output is None else {"output": output}
        if call is not None:
            given["calls"] = [partial(call, index) for index in range(len(self.prepared.calls))]
        mutant = _changed(self.prepared, {"expected": self.expected, "whole": self.whole, **given})
        renew = mutant.renew

        def forgetting(seed: int) -> None:
            self.known.clear()
            renew(seed)

        vars(mutant)["renew"] = forgetting
        return mutant

    def change(self, mutant: Prepared) -> float:
        """The root mean square change of the rows of set 0 that change, over honest rounding's.

        Infinite where no row of set 0 changes, or where honest kernels do not round.
        """
        rounding = self.prepared.tolerance.relative_l2 / ROW
        if not 0 < rounding < math.inf:
            return math.inf
        outputs = []
        for each in (self.prepared, mutant):
            each.calls[0]()
            outputs.append(each.output(0).float().clone())
        honest, wrong = outputs
        changes = (wrong - honest).norm(dim=1) / honest.norm(dim=1)
        found = float(changes[changes != 0].square().mean().sqrt()) / rounding
        return found if math.isfinite(found) else math.inf

    def expected(self, sets: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
        """The honest reference, for which mutants ask again and again."""
        asked = (tuple(sets.tolist()), str(rows.tolist()))
        if asked not in self.known:
            self.known[asked] = self.prepared.expected(sets, rows)
        found: torch.Tensor = self.known[asked]
        return found

    def whole(self, index: int) -> "tuple[torch.Tensor, torch.Tensor] | None":
        """The honest reference of all rows of a set, if that is quick."""
        asked = ("whole", index)
        if asked not in self.known:
            self.known[asked] = self.prepared.whole(index)
        found: tuple[torch.Tensor, torch.Tensor] | None = self.known[asked]
        return found

    def difference(self, wrong: Prepared, index: int) -> "tuple[torch.Tensor, torch.Tensor]":
        """Rows of a set, int64 [n], and by how much a wrong reference is off: fp32 [n, width]."""
        asked = (wrong, index)
        if asked not in self.known:
            self.known[asked] = self._computed(wrong, index)
        found: tuple[torch.Tensor, torch.Tensor] = self.known[asked]
        return found

    def _computed(self, wrong: Prepared, index: int) -> "tuple[torch.Tensor, torch.Tensor]":
        import torch

        if index == 0 and (honest := self.whole(0)) and (other := wrong.whole(0)):
            rows, right = honest
            return rows, other[1] - right
        mine = [(sets[sets == index], rows[sets == index]) for sets, rows in self.compared]
        off = [wrong.expected(*asked) - self.expected(*asked) for asked in mine if len(asked[0])]
        return torch.cat([rows.flatten() for _, rows in mine]), torch.cat(off)

    def forget(self) -> None:
        """Give back the memory of what was computed for a mutant."""
        for asked in [each for each in self.known if isinstance(each[0], Prepared)]:
            del self.known[asked]

    def finding(self, mutant: Prepared) -> WrongResult | None:
        """What the checks before and after timing say against a mutant; None if they pass it."""
        return self._said(lambda: checked(mutant, self.seed))

    def later_finding(self, mutant: Prepared) -> WrongResult | None:
        """What the check with new inputs says, which stay."""
        if not mutant.renewable:
            return None
        return self._said(lambda: renewed(mutant, self.seed))

    def _said(self, check: Callable[[], object]) -> WrongResult | None:
        try:
            check()
        except WrongResult as wrong:
            return wrong
        finally:
            if isinstance(self.prepared, CacheWrite):  # of what a mutant wrote astray
                self.prepared.pool.clear()
                self.prepared.poisoned.zero_()
        return None


def _recorded(
    prepared: Prepared, seed: int
) -> "tuple[float, list[tuple[torch.Tensor, torch.Tensor]]]":
    """A round of the honest kernel: its largest share, and the sets and rows it asked for."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def expected(sets: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
        seen.append((sets, rows))
        return prepared.expected(sets, rows)

    return one_round(_changed(prepared, {"expected": expected}), seed), seen


def _changed(prepared: Prepared, members: dict[str, Any]) -> Prepared:
    """A copy that shares all memory, with these members in place of the class's."""
    made = copy(prepared)

    def renew(seed: int) -> None:
        prepared.renew(seed + next(_renewals) * FRESH)
        made.tolerance = prepared.tolerance

    vars(made).update({"renew": renew, **members})
    return made


def one_round(prepared: Prepared, seed: int) -> float:
    """All checks of a round; returns the largest error over its tolerance. Raises WrongResult."""
    share = checked(prepared, seed)
    return max(share, renewed(prepared, seed)) if prepared.renewable else share


def checked(prepared: Prepared, seed: int) -> float:
    """As before timing and after it: of set 0, of all sets, and once more. Raises WrongResult."""
    before = check(prepared, seed)
    prepared.poison_sets(range(len(prepared.calls)))
    _launch_all(prepared)
    after = check_again(prepared, len(prepared.calls), seed)
    check_repeated(prepared, lambda: _launch_all(prepared), len(prepared.calls))
    return max(before.share, after.share)


def renewed(prepared: Prepared, seed: int) -> float:
    """With new inputs. Raises WrongResult."""
    return check_renewed(prepared, lambda: _launch_all(prepared), len(prepared.calls), seed).share


def _launch_all(prepared: Prepared) -> None:
    for call in prepared.calls:
        call()
