"""Selecting the measurements of refs, with their runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attnbench.db.refs import resolve
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.records import Measurement, Run
from attnbench.results.where import Condition, matching


@dataclass(frozen=True, slots=True)
class Selection:
    """The measurements of a ref, at least one."""

    ref: str
    measurements: Sequence[Measurement]
    runs: Mapping[int, Run]  # of the measurements, oldest first
    others: Sequence[Measurement] = ()  # of the ref, that do not meet the conditions


def select(
    store: Store,
    ref: str,
    pool: bool = False,
    where: Sequence[Condition] = (),
    option: str | None = None,
) -> Selection:
    """The rounds of the newest run per case, method and machine model, or all if pooled.

    Only those that meet all conditions, possibly none. Raises UsageError, which names the option
    that the ref was given by, for an unknown ref, or runs without outcomes.
    """
    numbers = resolve(store, ref, option).runs
    measurements = store.measurements(numbers, pool=pool)
    if not measurements:
        plural = "runs" if len(numbers) > 1 else "run"
        raise UsageError(
            f"'{ref}' names {plural} {', '.join(map(str, numbers))}, which ended before any "
            "measurement; `attnbench runs` lists runs with their outcomes"
        )
    runs = {run.number: run for run in store.runs({each.run for each in measurements})}
    chosen = matching(measurements, runs, where)
    uuids = {each.uuid for each in chosen}
    return Selection(ref, chosen, runs, [each for each in measurements if each.uuid not in uuids])


def run_numbers(store: Store, refs: Sequence[str]) -> list[int]:
    """The runs of the refs; all runs without refs."""
    if not refs:
        return [run.number for run in store.runs()]
    found = (resolve(store, ref, "--run") for ref in refs)
    return list(dict.fromkeys(number for ref in found for number in ref.runs))


def newest(selection: Selection) -> Run:
    """The run that started last."""
    return max(selection.runs.values(), key=lambda run: (run.started, run.number))
