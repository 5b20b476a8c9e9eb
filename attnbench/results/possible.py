"""Series whose times their machines allow: only these are ranked, compared and concluded from."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from attnbench.analysis.pairing import Pair, Pairing
from attnbench.analysis.roofline import is_above_roofline
from attnbench.analysis.series import Series
from attnbench.db.store import Store
from attnbench.provenance.machine import Machine
from attnbench.results.sentinels import read_sentinels
from attnbench.timing.sentinels import Sentinels

_WRONG = "less than the least time that the hardware allows"


def possible(store: Store, listed: Sequence[Series]) -> list[Series]:
    """The series without those with an impossible time; failed ones stay."""
    is_wrong = _test(store, listed)
    return [each for each in listed if not is_wrong(each)]


def possible_pairs(store: Store, found: Pairing) -> Pairing:
    """The pairing with every pair that has an impossible time among its mismatches."""
    is_wrong = _test(store, [side for pair in found.pairs for side in (pair.base, pair.head)])
    right, apart = list[Pair](), list(found.mismatches)
    for pair in found.pairs:
        if is_wrong(pair.base) or is_wrong(pair.head):
            apart.append((pair, _WRONG))
        else:
            right.append(pair)
    return replace(found, pairs=right, mismatches=apart)


def _test(store: Store, listed: Sequence[Series]) -> Callable[[Series], bool]:
    """Whether a series has an impossible time."""
    runs = store.runs({number for each in listed for number in each.runs})
    machines = {run.number: Machine.from_facts(run.machine) for run in runs}
    reached = {
        number: [Sentinels.from_facts(facts) for facts in moments.values()]
        for number, moments in read_sentinels(store, machines).items()
    }

    def is_wrong(series: Series) -> bool:
        rates = [each for number in series.runs for each in reached[number]]
        return is_above_roofline(series, machines[series.first.run], rates)

    return is_wrong
