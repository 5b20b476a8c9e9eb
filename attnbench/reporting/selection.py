"""The measurements that refs name, with the runs that they come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attnbench.db.refs import resolve
from attnbench.db.rows import Run
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.records import Measurement


@dataclass(frozen=True, slots=True)
class Selection:
    """What a ref names: one or more measurements."""

    ref: str
    measurements: Sequence[Measurement]
    runs: Mapping[int, Run]  # those that any of the measurements belongs to, oldest first


def select(store: Store, ref: str, pool: bool = False) -> Selection:
    """Of each case, method and machine model the newest run's rounds, or all if pooled.

    UsageError for a ref that names nothing, or runs without outcomes.
    """
    numbers = resolve(store, ref).runs
    measurements = store.measurements(numbers, pool=pool)
    if not measurements:
        plural = "runs" if len(numbers) > 1 else "run"
        raise UsageError(
            f"'{ref}' names {plural} {', '.join(map(str, numbers))}, which ended before anything "
            "was measured; `attnbench runs` lists runs with their outcomes"
        )
    used = {each.run for each in measurements}
    return Selection(ref, measurements, {n: store.run(n) for n in numbers if n in used})


def run_numbers(store: Store, refs: Sequence[str]) -> list[int]:
    """The runs that any of the refs names, all runs if there are none."""
    if not refs:
        return [run.number for run in store.runs()]
    return list(dict.fromkeys(number for ref in refs for number in resolve(store, ref).runs))
