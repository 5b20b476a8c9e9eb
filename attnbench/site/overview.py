"""The first page, GPUs by families, and the list of a family's cases."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from attnbench.reporting.html.page import PageData
from attnbench.reporting.html.table import HtmlTable
from attnbench.reporting.text_table import Column
from attnbench.site.case_page import slug
from attnbench.site.entry import SiteEntry, StepEntry
from attnbench.site.files import Files
from attnbench.site.names import Names, value_text, varying
from attnbench.site.sparkline import sparkline, together
from attnbench.units import MISSING, change_in_percent, seconds_text

Families = Mapping[tuple[str, str], Sequence[SiteEntry]]  # by GPU and family


@dataclass(frozen=True, slots=True)
class Tile:
    """A family on a GPU."""

    family: str
    link: str
    cases: int
    spark: str
    last: str  # the last step


def families(entries: Sequence[SiteEntry]) -> Families:
    """The entries by GPU and family, both in alphabetical order."""
    found: dict[tuple[str, str], list[SiteEntry]] = defaultdict(list)
    for entry in entries:
        found[entry.gpu, entry.family].append(entry)
    return dict(sorted(found.items()))


def list_name(gpu: str, family: str) -> str:
    """The file of a family's list, without its suffix."""
    return f"list/{slug(gpu)}-{slug(family)}"


def write_overview(
    files: Files, found: Families, runs: int, regressions: int, names: Names
) -> None:
    """Write the first page."""
    gpus: dict[str, list[Tile]] = defaultdict(list)
    for (gpu, family), entries in found.items():
        gpus[gpu].append(_tile(gpu, family, entries, names))
    values = {"gpus": gpus, "runs": runs, "regressions": regressions}
    files.page("index", "site_index.html", PageData(), values)


def _tile(gpu: str, family: str, entries: Sequence[SiteEntry], names: Names) -> Tile:
    steps = [(step, entry) for entry in entries for step in entry.steps]
    newest, entry = max(steps, key=lambda each: each[0].started, default=(None, entries[0]))
    name = names[entry.page, entry.method]
    last = f"last step: {name} {step_text(newest)}" if newest else "no step"
    cases = len({entry.page for entry in entries})
    line = sparkline(together([entry for entry in entries if len(entry.points) > 1]))
    return Tile(family, f"{list_name(gpu, family)}.html", cases, line, last)


def step_text(step: StepEntry) -> str:
    """A step in brief, e.g. "+5.1 % at vllm 0.26.0, 2026-11-28"."""
    return f"{change_in_percent(step.ratio)} % at {step.version}, {step.started[:10]}"


def write_list(files: Files, gpu: str, family: str, entries: Sequence[SiteEntry]) -> None:
    """Write the list of a family's cases on a GPU."""
    listed = sorted(entries, key=lambda each: (each.fields["backend"] != "", each.sizes, each.page))
    table = HtmlTable.of("cases", "Cases, by method", _columns(listed), _orders(listed))
    table = replace(
        table,
        facts=_facts(listed),
        links=[f"../case/{each.page}.html" for each in listed],
        sparks=[sparkline([time for _, time in each.points]) for each in listed],
    )
    values = {"gpu": gpu, "family": family, "about": _shared(listed), "table": table}
    files.page(list_name(gpu, family), "site_list.html", PageData(tables=[table]), values)


def _columns(listed: Sequence[SiteEntry]) -> list[Column]:
    lasts = [each.steps[-1] if each.steps else None for each in listed]
    changes = [f"{change_in_percent(each.ratio)}" if each else MISSING for each in lasts]
    return [
        Column("case", [each.title for each in listed], left=True),
        Column("newest", [seconds_text(each.latest) for each in listed]),
        Column("last step\n%", changes),
        Column("at", [each.version if each else "" for each in lasts], left=True),
        Column("versions", [str(each.versions) for each in listed]),
        *(
            Column(name, [value_text(each, name) for each in listed], left=True)
            for name in varying(listed)
            if name != "backend"
        ),
    ]


def _orders(listed: Sequence[SiteEntry]) -> Mapping[str, Sequence[float | None]]:
    ranks = {size: float(at) for at, size in enumerate(sorted({each.sizes for each in listed}))}
    return {
        "case": [ranks[each.sizes] for each in listed],
        "newest": [each.latest for each in listed],
    }


def _facts(listed: Sequence[SiteEntry]) -> dict[str, Sequence[str | float | None]]:
    """The values that the table's filter knows, by field."""
    names = dict.fromkeys(name for each in listed for name in each.fields)
    return {name: [_value(each, name) for each in listed] for name in names}


def _value(entry: SiteEntry, name: str) -> str | float | None:
    value = entry.fields.get(name)
    return value if value is None or isinstance(value, int | float) else str(value)


def _shared(listed: Sequence[SiteEntry]) -> str:
    different = varying(listed)
    first = listed[0]
    kept = [name for name in first.set_fields if name not in different]
    own = [f"{name} {first.fields[name]}" for name in kept]
    return ", ".join([*own, *([first.method] if "method" not in different else [])])
