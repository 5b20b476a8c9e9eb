"""The page of a case on GPUs of one name: its times over versions, and where they changed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnbench.analysis.fields import Fields, batch_text, method_text
from attnbench.analysis.steps import Step
from attnbench.records import Run
from attnbench.reporting.history_text import history_columns, history_notes, step_lines
from attnbench.reporting.html.figures import Json, Plot, PlotChoice, in_unit, numbers, times
from attnbench.reporting.html.page import PageData
from attnbench.reporting.html.table import HtmlTable
from attnbench.results.bisection import bisection
from attnbench.results.history import History
from attnbench.site.files import Files

_KEY_DIGITS = 12
Found = Sequence[tuple[History, Sequence[Step]]]
Plans = Mapping[int, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class HistoryPart:
    """A history in its page."""

    title: str
    notes: Sequence[str]
    steps: Sequence[tuple[str, Sequence[str], str]]  # kind, lines, and how to bisect it
    table: HtmlTable


def page_name(case_key: str, machine_name: str) -> str:
    """The file's name, which stays the same in every database and site."""
    return f"{case_key[:_KEY_DIGITS]}-{slug(machine_name)}"


def slug(text: str) -> str:
    """The text as a part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def write_case(files: Files, name: str, found: Found, plans: Plans, tree: Path | None) -> None:
    """Write the page of histories of one case; `plans` by run, of the first runs after steps."""
    first = found[0][0]
    about = [f"{n} {v}" for n, v in Fields.of([first.case]).constant.items() if n != "backend"]
    parts = [_part(at, *each, plans, tree) for at, each in enumerate(found)]
    plot = _plot([history for history, _ in found], [steps for _, steps in found])
    values = {
        "title": f"{first.case.family} {first.case.backend} {batch_text(first.case)}",
        "gpu": first.series.first.machine_name,
        "about": ", ".join(about),
        "key": first.series.first.case_key,
        "breaks": _breaks([history for history, _ in found]),
        "parts": parts,
        "plot": plot,
    }
    data = PageData([plot], [part.table for part in parts])
    files.page(f"case/{name}", "site_case.html", data, values)


def _part(
    at: int, history: History, steps: Sequence[Step], plans: Plans, tree: Path | None
) -> HistoryPart:
    columns = history_columns(history, steps)
    return HistoryPart(
        _method(history),
        history_notes(history, steps),
        [
            (
                "slower" if step.ratio > 1 else "faster",
                step_lines(history, step, tree),
                bisection(history, step, plans, None, tree),
            )
            for step in reversed(steps)
        ],
        HtmlTable.of(f"part{at}-table", "Versions", columns),
    )


def _method(history: History) -> str:
    return f"{method_text(history.series.first.method)}, {history.series.regime}"


def _breaks(histories: Sequence[History]) -> list[str]:
    """A line per method after the first: times of unlike methods are not comparable."""
    starts = sorted((each.versions[0].runs[0].started, _method(each)) for each in histories)
    return [
        f"measured in another way from {started:%Y-%m-%d} on, which does not compare with the "
        f"times before: {method}"
        for started, method in starts[1:]
    ]


def _plot(histories: Sequence[History], steps: Sequence[Sequence[Step]]) -> Plot:
    caption = (
        "Bars are the range of the rounds' medians. Triangles are steps: lasting changes beyond "
        "the margin and the noise."
    )
    return Plot("times", "Time over versions", caption, [PlotChoice("", _figure(histories, steps))])


def _figure(histories: Sequence[History], steps: Sequence[Sequence[Step]]) -> Json:
    unit, size = in_unit([version.time for each in histories for version in each.versions])
    places = _places(histories)
    ticks = [(place, name) for name, place in places.values()]
    series = [_series(history, slot, size, places) for slot, history in enumerate(histories)]
    for history, found in zip(histories, steps, strict=True):
        series += _step_series(history, found, size, places)
    last = len(places) - 1
    across = {"label": "version", "ticks": ticks, "range": [-0.5, last + 0.5]}
    return {"series": series, "x": across, "y": {"label": f"latency, {unit}"}}


Places = Mapping[int, tuple[str, int]]  # by the number of a version's first run: name and place


def _places(histories: Sequence[History]) -> Places:
    """A place on the axis for each version: that of the longest history, then of the others."""
    longest = sorted(histories, key=lambda each: -len(each.versions))
    names: dict[str, int] = {}
    found: dict[int, tuple[str, int]] = {}
    for history in longest:
        for version, name in zip(history.versions, history.names, strict=True):
            place = names.setdefault(name, len(names))
            found[version.runs[0].number] = name, place
    return found


def _series(history: History, slot: int, size: float, places: Places) -> Json:
    listed = [(version, places[version.runs[0].number]) for version in history.versions]
    return {
        "name": _method(history),
        "slot": slot,
        "x": [place for _, (_, place) in listed],
        **times("y", [version for version, _ in listed], size),
        "line": True,
        "notes": [f"{name}, {_started(version.runs)}" for version, (name, _) in listed],
    }


def _started(runs: Sequence[Run]) -> str:
    return f"{runs[0].started:%Y-%m-%d %H:%M} UTC"


def _step_series(
    history: History, steps: Sequence[Step], size: float, places: Places
) -> list[Json]:
    """Slower and faster steps as points, with the interval of the time after them."""
    found = []
    for kind in ("slower", "faster"):
        listed = [step for step in steps if (step.ratio > 1) == (kind == "slower")]
        versions = [history.versions[step.at] for step in listed]
        found.append(
            {
                "name": kind,
                "kind": kind,
                "x": [places[version.runs[0].number][1] for version in versions],
                "y": numbers(version.time / size for version in versions),
                "notes": [" ".join(step_lines(history, step, None)[:1]) for step in listed],
            }
        )
    return [each for each in found if each["x"]]
