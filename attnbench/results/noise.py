"""Input of verdicts besides the rounds: stored noise, and the marks of interleaved runs."""

from collections.abc import Callable, Iterable

from attnbench.analysis.estimate import ASSUMED_NOISE, Noise
from attnbench.db.store import Store

# By machine key, machine model, family and stratum.
NoiseLookup = Callable[[str, str, str, str], Noise]


def assumed_noise(machine_key: str, machine_model: str, family: str, stratum: str) -> Noise:
    """The noise assumed if none is stored."""
    return ASSUMED_NOISE


def noise_for(
    store: Store, machine_key: str, machine_model: str, family: str, stratum: str
) -> Noise:
    """The noise that `attnbench selfcheck` has stored, else the assumed noise."""
    stored = store.noise(machine_key, machine_model, family, stratum)
    if stored is None:
        return ASSUMED_NOISE
    if stored.session_sd is None:
        return Noise(ASSUMED_NOISE.session_sd, measured=False, floor=stored.floor)
    return Noise(stored.session_sd, measured=True, floor=stored.floor)


def turns_of(store: Store, runs: Iterable[int]) -> dict[int, str]:
    """The mark that interleaved runs share, by number; other runs have none."""
    marks = {run: store.plan(run).get("interleaved") for run in runs}
    return {run: mark for run, mark in marks.items() if mark is not None}
