"""The cards of one model that measured a table's rows."""

from collections.abc import Collection, Iterable, Mapping

from attnbench.analysis.series import Series
from attnbench.records import Measurement

_UUID_DIGITS = 12  # with the prefix, as in GPU-5ef5a2c1


def card_names(measurements: Iterable[Measurement]) -> dict[str, str]:
    """A short name for each card by its machine's key; empty if there is only one.

    The device, with its host if the devices of two are named alike, or else with its UUID.
    """
    cards = {each.machine_key: each for each in measurements}
    if len(cards) < 2:
        return {}
    schemes = (
        {key: each.device for key, each in cards.items()},
        {key: f"{each.hostname} {each.device}" for key, each in cards.items()},
        {key: (each.gpu_uuid or each.hostname)[:_UUID_DIGITS] for key, each in cards.items()},
    )
    return next((names for names in schemes if _are_distinct(names.values())), schemes[-1])


def _are_distinct(names: Collection[str]) -> bool:
    return len(set(names)) == len(names) and all(names)


def card_of(series: Series, names: Mapping[str, str]) -> str:
    """The card that measured a series, or all of them."""
    return ", ".join(
        names[key] for key in dict.fromkeys(each.machine_key for each in series.rounds)
    )


def split_workloads(listed: Iterable[Series]) -> int:
    """The workloads whose rows are of several cards."""
    cards: dict[str, set[str]] = {}
    for series in listed:
        keys = {each.machine_key for each in series.rounds}
        cards.setdefault(series.first.workload_key, set()).update(keys)
    return sum(len(keys) > 1 for keys in cards.values())
