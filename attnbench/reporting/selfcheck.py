"""What runs of equal code tell of noise: found, stored for `diff`, and shown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import expm1

from attnbench.analysis.noise import (
    PLANNED_ROUNDS,
    FalseVerdicts,
    GroupNoise,
    Repeated,
    find_noise,
)
from attnbench.analysis.pairing import cell_of, pair_up
from attnbench.analysis.series import series_of
from attnbench.db.rows import Run
from attnbench.db.store import Store
from attnbench.errors import AttnbenchError
from attnbench.provenance.machine import Machine
from attnbench.reporting.grid import WIDTH, Column, grid, items, wrapped
from attnbench.reporting.noise import noise_for, turns_of
from attnbench.units import MISSING

# What a stored noise has by name; the rest goes into its facts.
_COLUMNS = ("family", "stratum", "floor", "session_sd", "num_cells")
# Runs: the pair, and two separate ones beside each two that are compared.
_JUDGED_BY_OTHERS = 6


@dataclass(frozen=True, slots=True)
class Found:
    """The noise of each family and kind of duration, and what it comes from."""

    noises: Sequence[GroupNoise]
    runs: Sequence[Run]  # the interleaved pair, then the separate ones
    left_out: int  # cases that have a time in some of the runs only


def find_and_store(store: Store, runs: Sequence[int]) -> Found:
    """The noise that an interleaved pair of runs and then separate ones show.

    It is stored, for `diff` to judge by. AttnbenchError if no case has a time in all runs.
    """
    cases, left_out = _repeated(store, runs)
    used = [store.run(number) for number in runs]
    key, model = used[0].machine_key, used[0].machine_model
    noises = find_noise(cases, lambda group: noise_for(store, key, model, *group))
    if not noises:
        raise AttnbenchError("no case has a time in all runs, so that nothing is known of noise")
    for noise in noises:
        facts = asdict(noise)
        store.add_noise(
            machine_key=key,
            machine_model=model,
            **{name: facts.pop(name) for name in _COLUMNS},
            facts={"runs": [run.uuid for run in used], **facts},
        )
    return Found(noises, used, left_out)


def _repeated(store: Store, runs: Sequence[int]) -> tuple[list[Repeated], int]:
    """The cases that have all their times in all runs, and how many others have some."""
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
    return found, left_out


def selfcheck_text(found: Found, width: int = WIDTH) -> str:
    """How large the noise is, how often it was taken for a change, and what is found beside it."""
    noises = found.noises
    numbers = [str(run.number) for run in found.runs]
    machine = Machine.from_facts(found.runs[0].machine).label
    sizes = [
        *_names(noises),
        Column("cells", [str(each.num_cells) for each in noises]),
        Column("floor\n%", [_percent(expm1(each.floor)) for each in noises]),
        Column("sessions\n%", [_percent(each.session_sd) for each in noises]),
    ]
    rows = [(noise, kind) for noise in noises for kind in _KINDS]
    verdicts = [_KINDS[kind](noise) for noise, kind in rows]
    risks = [
        *_names([noise for noise, _ in rows]),
        Column("runs", [kind for _, kind in rows], left=True),
        Column("false", [f"{false.count} of {false.comparisons}" for false, _ in verdicts]),
        Column("at most\n%", [_percent(false.upper) for false, _ in verdicts]),
        *(
            Column(f"R = {rounds}\n%", [_percent(smallest[at]) for _, smallest in verdicts])
            for at, rounds in enumerate(PLANNED_ROUNDS)
        ),
    ]
    blocks = [
        f"Equal code on {machine}: runs {' and '.join(numbers[:2])} interleaved, "
        f"{', '.join(numbers[2:])} separate.",
        "How far it measures apart: floor is what 95 % of the interleaved cells stay within, "
        "sessions the standard deviation between separate runs.",
        grid(sizes, width=width),
        "How often that comes to a false verdict, with the 95 % upper bound of the rate; and the "
        "smallest change that R rounds a side find four times in five.",
        grid(risks, width=width),
        items(_remarks(found), width=width),
    ]
    return "\n\n".join(wrapped(text, width) if "\n" not in text else text for text in blocks)


_KINDS: Mapping[str, Callable[[GroupNoise], tuple[FalseVerdicts, Sequence[float | None]]]] = {
    "interleaved": lambda noise: (noise.interleaved, noise.found_interleaved),
    "separate": lambda noise: (noise.separate, noise.found_separate),
}


def _names(noises: Sequence[GroupNoise]) -> list[Column]:
    return [
        Column("family", [each.family for each in noises], left=True),
        Column("duration", [each.stratum for each in noises], left=True),
    ]


def _remarks(found: Found) -> list[str]:
    lines = [_total(found.noises, kind) for kind in _KINDS]
    judged = "the interleaved runs were judged by the noise that was stored before, if any"
    if len(found.runs) >= _JUDGED_BY_OTHERS:
        judged += ", each two separate ones by the interleaved floor and the other runs' variance"
    else:
        judged += ", the separate ones by that and the interleaved floor"
    lines.append(judged)
    if any(each.floor_is_largest for each in found.noises):
        lines.append("with fewer than 20 cells the floor is the largest change of any")
    if found.left_out:
        cases = "1 case" if found.left_out == 1 else f"{found.left_out} cases"
        lines.append(f"left out, having failed in some run: {cases}")
    return [*lines, "stored: `attnbench diff` judges by this from now on"]


def _total(noises: Sequence[GroupNoise], kind: str) -> str:
    each = [_KINDS[kind](noise)[0] for noise in noises]
    total = FalseVerdicts(sum(f.count for f in each), sum(f.comparisons for f in each))
    share = f"at most {_percent(total.upper)} %"
    return f"{kind}: {total.count} of {total.comparisons} verdicts false, {share}"


def _percent(fraction: float | None) -> str:
    """Two decimals below 10 %, so that small noise shows."""
    if fraction is None:
        return MISSING
    return f"{100 * fraction:.{2 if fraction < 0.0995 else 1}f}"
