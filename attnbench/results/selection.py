"""The measurements that refs name, with the runs that they come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attnbench.db.refs import resolve
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.records import Measurement, Run
from attnbench.results.where import Condition, matching


@dataclass(frozen=True, slots=True)
class Selection:
    """What a ref names: one or more measurements."""

    ref: str
    measurements: Sequence[Measurement]
    runs: Mapping[int, Run]  # those that any of the measurements belongs to, oldest first


def select(
    store: Store, ref: str, pool: bool = False, where: Sequence[Condition] = ()
) -> Selection:
    """Of each case, method and machine model the newest run's rounds, or all if pooled.

    Those that fulfil all conditions, which may be none of them. UsageError for a ref that names
    nothing, or runs without outcomes.
    """
    numbers = resolve(store, ref).runs
    measurements = store.measurements(numbers, pool=pool)
    if not measurements:
        plural = "runs" if len(numbers) > 1 else "run"
        raise UsageError(
            f"'{ref}' names {plural} {', '.join(map(str, numbers))}, which ended before anything "
            "was measured; `attnbench runs` lists runs with their outcomes"
        )
    runs = {run.number: run for run in store.runs({each.run for each in measurements})}
    return Selection(ref, matching(measurements, runs, where), runs)


def run_numbers(store: Store, refs: Sequence[str]) -> list[int]:
    """The runs that any of the refs names, all runs if there are none."""
    if not refs:
        return [run.number for run in store.runs()]
    return list(dict.fromkeys(number for ref in refs for number in resolve(store, ref).runs))
