"""The list of studies, and `--dry-run` of one."""

from collections.abc import Iterable

from attnbench.reporting.text_table import WIDTH, Column, items, text_table, wrapped
from attnbench.running.forecast import Forecast, Foreseen
from attnbench.studies.cases import cells_of
from attnbench.studies.file import Study
from attnbench.studies.request import StudyRequest, search_of
from attnbench.studies.search import Search
from attnbench.units import bytes_column, counted, minutes_text


def studies_table(studies: Iterable[Study], width: int) -> str:
    """A paragraph per study: its name, its family, its aliases and its question."""
    lines = []
    for study in studies:
        about = ", ".join([study.family, *(f"also {alias}" for alias in study.aliases)])
        lines.append(wrapped(f"{study.name} ({about}): {study.question}", width, "  "))
    last = (
        "Most need an NVIDIA GPU. Options override a study, so --backend names one that "
        "runs elsewhere: attnbench study prefill-length --backend sdpa"
    )
    return "\n".join([*lines, "", wrapped(last, width)])


def dry_run_text(asked: StudyRequest, found: Forecast, rounds: int, width: int = WIDTH) -> str:
    """The cases to measure, those refused or left out, the memory and the time."""
    study = asked.study
    cells = cells_of(study, found.machine.kind)
    search = search_of(study, cells.cases, rounds, is_exhaustive=asked.is_exhaustive)
    runnable = [each for each in found.cases if each.refusal is None]
    lines = asked.changes
    if found.unasked:
        lines.append(f"could not determine what can run here: {found.unasked}")
    lines += [f"refused: {text}" for text in _refusals(found)]
    lines += [f"left out: {count}: {reason}" for reason, count in cells.left_out.items()]
    lines.append(f"{_extent(found, len(runnable), search, rounds)}. Nothing was measured.")
    blocks = [wrapped(f"{study.name}: {study.question}", width)]
    if runnable:
        blocks.append(text_table(_columns(runnable), width=width))
    return "\n\n".join([*blocks, items(lines, width=width)])


def _extent(found: Forecast, runnable: int, search: Search | None, rounds: int) -> str:
    """How many cases can run, and the rounds and the time that these take."""
    count = f"{runnable} of {len(found.cases)} cases can run on {found.where}"
    if runnable == 0:
        return count
    if search is None:
        return f"{count}; {counted(rounds, 'round')} of each; ~{minutes_text(found.seconds)}"
    seconds = found.seconds / rounds * search.expected / len(found.cases)
    return (
        f"{count}; a search starts with them and needs some {search.expected:.0f} rounds of cases, "
        f"where an exhaustive sweep has {search.num_cases} cases at {counted(rounds, 'round')}; "
        f"~{minutes_text(seconds)}"
    )


def _columns(runnable: list[Foreseen]) -> list[Column]:
    """A row per backend: the number of cases, and the largest memory of one."""
    groups: dict[str, list[Foreseen]] = {}
    for each in runnable:
        groups.setdefault(each.case.backend, []).append(each)
    unit, memory = bytes_column([max(e.memory for e in group) for group in groups.values()])
    return [
        Column("backend", list(groups), left=True),
        Column("cases", [str(len(group)) for group in groups.values()]),
        Column(f"largest inputs\n{unit}", memory),
    ]


def _refusals(found: Forecast) -> list[str]:
    """A line per reason, as the conclusion has it."""
    met: dict[str, list[str]] = {}
    for each in found.cases:
        if each.refusal is not None:
            met.setdefault(each.refusal, []).append(each.case.backend)
    return [
        f"{len(names)} of {', '.join(dict.fromkeys(names))}: {why}" for why, names in met.items()
    ]
