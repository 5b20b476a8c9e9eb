"""The noise shown by runs of equal code, stored for `diff`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from attnbench.analysis.noise import (
    GroupNoise,
    Repeated,
    find_noise,
)
from attnbench.analysis.pairing import cell_of, pair_up
from attnbench.analysis.series import series_of
from attnbench.db.store import Store
from attnbench.errors import AttnbenchError
from attnbench.records import Run
from attnbench.results.noise import Noises, turns_of

# The columns of a stored noise; the rest goes into its facts.
_COLUMNS = ("family", "stratum", "floor", "session_sd", "num_cells")


@dataclass(frozen=True, slots=True)
class FoundNoise:
    """The noise of each family and duration stratum, with its runs."""

    noises: Sequence[GroupNoise]
    runs: Sequence[Run]  # the interleaved pair, then the separate ones
    left_out: int  # cases with a time in only some of the runs


def find_and_store(store: Store, runs: Sequence[int]) -> FoundNoise:
    """The noise shown by an interleaved pair of runs and then separate ones.

    It is stored for `diff`. Raises AttnbenchError if no case has a time in all runs.
    """
    cases, regime, left_out = _repeated(store, runs)
    used = [store.run(number) for number in runs]
    key, model = used[0].machine_key, used[0].machine_model
    noises = find_noise(cases, Noises(store, without=runs).machine(model, regime))
    if not noises:
        raise AttnbenchError("no case has a time in all runs, so the noise is unknown")
    for noise in noises:
        facts = asdict(noise)
        store.add_noise(
            machine_key=key,
            machine_model=model,
            **{name: facts.pop(name) for name in _COLUMNS},
            facts={"runs": [run.uuid for run in used], **facts},
        )
    return FoundNoise(noises, used, left_out)


def _repeated(store: Store, runs: Sequence[int]) -> tuple[list[Repeated], str, int]:
    """The cases with all times in all runs, a regime, and the number of others with some."""
    base, head, *apart = (series_of(store.measurements([run])) for run in runs)
    sessions = [{each.first.case_key: each for each in listed} for listed in apart]
    turns, found, left_out = turns_of(store, runs[:2]), [], 0
    for pair in pair_up(base, head).pairs:
        key = pair.base.first.case_key
        single = [series for by_case in sessions if (series := by_case.get(key))]
        listed = [pair.base, pair.head, *single]
        if len(listed) < len(runs) or any(each.failures for each in listed):
            left_out += any(each.timed for each in listed)
            continue
        medians = [each.medians for each in single]
        found.append(Repeated(pair.base.case.family, cell_of(pair, turns), medians))
    return found, base[0].regime if base else "", left_out
