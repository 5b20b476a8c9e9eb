"""The noise found by a self-check, as text."""

from collections.abc import Callable, Mapping, Sequence
from math import expm1

from attnbench.analysis.noise import PLANNED_ROUNDS, FalseVerdicts, GroupNoise
from attnbench.provenance.machine import Machine
from attnbench.reporting.text_table import WIDTH, Column, items, text_table, wrapped
from attnbench.results.selfcheck import FoundNoise
from attnbench.units import MISSING, counted


def selfcheck_text(found: FoundNoise, width: int = WIDTH) -> str:
    """The size of the noise, how often it counted as a change, and the changes found beyond it."""
    numbers = [str(run.number) for run in found.runs]
    machine = Machine.from_facts(found.runs[0].machine).label
    blocks = [
        f"Equal code on {machine}: runs {' and '.join(numbers[:2])} interleaved, "
        f"{', '.join(numbers[2:])} separate.",
        "How far equal code differs: 95 % of the interleaved cells stay within floor; sessions is "
        "the standard deviation between separate runs, common that of what shifts all cases of a "
        "run alike.",
        text_table(_sizes(found.noises), width=width),
        "How often that gives a false verdict, with the 95 % upper bound of the rate if cases err "
        "independently, and the smallest change of a case that R rounds on each side find four "
        "times in five.",
        text_table(_risks(found.noises), width=width),
        items(_remarks(found), width=width),
    ]
    return "\n\n".join(wrapped(text, width) if "\n" not in text else text for text in blocks)


_NOISY = 0.1  # of the largest floor; a quiet GPU has 0.002 (docs/lab/verdicts.md)
_KINDS: Mapping[str, Callable[[GroupNoise], tuple[FalseVerdicts, Sequence[float | None]]]] = {
    "interleaved": lambda noise: (noise.interleaved, noise.found_interleaved),
    "separate": lambda noise: (noise.separate, noise.found_separate),
}


def _sizes(noises: Sequence[GroupNoise]) -> list[Column]:
    """How far equal code differs, by group."""
    return [
        *_names(noises),
        Column("cells", [str(each.num_cells) for each in noises]),
        Column("floor\n%", [_percent(expm1(each.floor)) for each in noises]),
        Column("sessions\n%", [_percent(each.session_sd) for each in noises]),
        Column("common\n%", [_percent(each.common_sd) for each in noises]),
    ]


def _risks(noises: Sequence[GroupNoise]) -> list[Column]:
    """The false verdicts and the smallest changes found, by group and kind of runs."""
    rows = [(noise, kind) for noise in noises for kind in _KINDS]
    verdicts = [_KINDS[kind](noise) for noise, kind in rows]
    return [
        *_names([noise for noise, _ in rows]),
        Column("runs", [kind for _, kind in rows], left=True),
        Column("false", [f"{false.count} of {false.comparisons}" for false, _ in verdicts]),
        Column("at most\n%", [_percent(false.upper) for false, _ in verdicts]),
        *(
            Column(f"R = {rounds}\n%", [_percent(smallest[at]) for _, smallest in verdicts])
            for at, rounds in enumerate(PLANNED_ROUNDS)
        ),
    ]


def _names(noises: Sequence[GroupNoise]) -> list[Column]:
    return [
        Column("family", [each.family for each in noises], left=True),
        Column("duration", [each.stratum for each in noises], left=True),
    ]


def _remarks(found: FoundNoise) -> list[str]:
    pairs = {"interleaved": 1, "separate": (len(found.runs) - 2) // 2}
    lines = [_total(found.noises, kind, pairs[kind]) for kind in _KINDS]
    lines.append(
        "interleaved runs were judged by the noise known before, each pair of separate runs also "
        "by the other runs"
    )
    if any(each.floor_is_largest for each in found.noises):
        lines.append("with fewer than 20 cells the floor is the largest change")
    if found.left_out:
        cases = counted(found.left_out, "case")
        lines.append(f"left out, having failed in some run: {cases}")
    floor = max(expm1(each.floor) for each in found.noises)
    if floor > _NOISY:
        lines.append(
            f"this machine is noisy: equal code measures up to {_percent(floor)} % apart; other "
            "processes or a changing clock may be the cause"
        )
    return [*lines, "`attnbench diff` judges by these runs from now on"]


def _total(noises: Sequence[GroupNoise], kind: str, pairs: int) -> str:
    each = [_KINDS[kind](noise)[0] for noise in noises]
    total = FalseVerdicts(sum(f.count for f in each), sum(f.comparisons for f in each))
    share = f"at most {_percent(total.upper)} %"
    runs = counted(pairs, "pair")
    return f"{kind}: {total.count} of {total.comparisons} verdicts false in {runs} of runs, {share}"


def _percent(fraction: float | None) -> str:
    """In percent, with two decimals below 10 % for small noise."""
    if fraction is None:
        return MISSING
    return f"{100 * fraction:.{2 if fraction < 0.0995 else 1}f}"
