"""What verdicts rest on beside the rounds: stored noise, and which runs took turns."""

from collections.abc import Callable, Iterable

from attnbench.analysis.estimate import ASSUMED_NOISE, Noise
from attnbench.db.store import Store

# By machine key, machine model, family and stratum.
NoiseLookup = Callable[[str, str, str, str], Noise]


def assumed_noise(machine_key: str, machine_model: str, family: str, stratum: str) -> Noise:
    """What holds where nothing is stored."""
    return ASSUMED_NOISE


def noise_for(
    store: Store, machine_key: str, machine_model: str, family: str, stratum: str
) -> Noise:
    """What `attnbench selfcheck` has stored; for what it has not, what is assumed."""
    stored = store.noise(machine_key, machine_model, family, stratum)
    if stored is None:
        return ASSUMED_NOISE
    if stored.session_sd is None:
        return Noise(ASSUMED_NOISE.session_sd, measured=False, floor=stored.floor)
    return Noise(stored.session_sd, measured=True, floor=stored.floor)


def turns_of(store: Store, runs: Iterable[int]) -> dict[int, str]:
    """The mark that runs share which took turns with each other, by number; others have none."""
    marks = {run: store.plan(run).get("interleaved") for run in runs}
    return {run: mark for run, mark in marks.items() if mark is not None}
