"""All steps of a site: the slower ones as a page and an Atom feed, the faster ones beside them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from xml.etree import ElementTree as Xml

from attnbench.reporting.html.page import PageData
from attnbench.reporting.html.table import HtmlTable
from attnbench.reporting.text_table import Column
from attnbench.site.case_page import slug
from attnbench.site.entry import SiteEntry, StepEntry
from attnbench.site.files import Files
from attnbench.site.names import Names
from attnbench.stats.multiplicity import benjamini_hochberg
from attnbench.units import change_in_percent

_ALPHA = 0.05
_FED = 50  # entries of the feed
_BRIEF = 40  # characters of a difference that a row shows whole
_ATOM = "http://www.w3.org/2005/Atom"


@dataclass(frozen=True, slots=True)
class Change:
    """A step with its case."""

    entry: SiteEntry
    step: StepEntry


def changes(entries: Sequence[SiteEntry]) -> list[Change]:
    """The steps that hold among those of all cases, newest first.

    A step in a case's page was tested among that case's; of many cases a few would be chance.
    """
    found = [Change(entry, step) for entry in entries for step in entry.steps]
    q_values = benjamini_hochberg([each.step.q for each in found])
    kept = [each for each, q in zip(found, q_values, strict=True) if q <= _ALPHA]
    return sorted(kept, key=lambda each: (each.step.started, each.step.ratio), reverse=True)


def write_regressions(files: Files, found: Sequence[Change], names: Names) -> None:
    """Write the page and the feed."""
    slower = [each for each in found if each.step.ratio > 1]
    faster = [each for each in found if each.step.ratio < 1]
    tables = [
        _table(key, caption, listed, names)
        for key, caption, listed in (
            ("slower", "Slower", slower),
            ("faster", "Faster", faster),
        )
        if listed
    ]
    values = {"tables": tables, "slower": len(slower), "faster": len(faster)}
    files.page("regressions", "site_regressions.html", PageData(tables=tables), values)
    files.write("feed.xml", feed(slower, names))


def _table(key: str, caption: str, listed: Sequence[Change], names: Names) -> HtmlTable:
    steps = [each.step for each in listed]
    columns = [
        Column("case", [_name(each.entry, names) for each in listed], left=True),
        Column("change\n%", [change_in_percent(step.ratio) for step in steps]),
        Column("95 % interval\n%", [_interval(step) for step in steps]),
        Column("since", [step.started[:10] for step in steps], left=True),
        Column("version", [step.version for step in steps], left=True),
        Column("before", [step.before for step in steps], left=True),
        Column("sessions", [str(step.sessions) for step in steps]),
        Column("gpu", [each.entry.gpu for each in listed], left=True),
        Column("differs", ["; ".join(map(_brief, step.differs)) for step in steps], left=True),
    ]
    links = [f"case/{each.entry.page}.html" for each in listed]
    return replace(HtmlTable.of(key, caption, columns), links=links)


def _name(entry: SiteEntry, names: Names) -> str:
    return f"{entry.family} {names[entry.page, entry.method]}"


def _interval(step: StepEntry) -> str:
    return f"{change_in_percent(step.low)} to {change_in_percent(step.high)}"


def _brief(difference: str) -> str:
    """The difference without long values, such as hashes, which the case's page has."""
    if len(difference) <= _BRIEF or " -> " not in difference:
        return difference
    name, colon, _ = difference.partition(": ")
    return name if colon else difference.split(" -> ", maxsplit=1)[0].rpartition(" ")[0]


def feed(slower: Sequence[Change], names: Names) -> str:
    """An Atom feed of the newest slower steps; its links are relative to its own place."""
    Xml.register_namespace("", _ATOM)
    root = Xml.Element(f"{{{_ATOM}}}feed")
    updated = slower[0].step.started if slower else "1970-01-01T00:00:00Z"
    _add(root, "id", "urn:attnbench:regressions")
    _add(root, "title", "attnbench: cases that got slower")
    _add(root, "updated", updated)
    _add(_add(root, "author"), "name", "attnbench")
    _add(root, "link", rel="self", href="feed.xml")
    _add(root, "link", href="regressions.html")
    for each in slower[:_FED]:
        _feed_entry(_add(root, "entry"), each, names)
    Xml.indent(root, " ")
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _feed_entry(made: Xml.Element, each: Change, names: Names) -> None:
    entry, step = each.entry, each.step
    _add(made, "id", f"urn:attnbench:{entry.page}:{slug(entry.method)}:{slug(step.version)}")
    title = f"{_name(entry, names)} on {entry.gpu}"
    _add(made, "title", f"{title}: {change_in_percent(step.ratio)} % at {step.version}")
    _add(made, "updated", step.started)
    _add(made, "link", href=f"case/{entry.page}.html")
    shown = "one session so far" if step.sessions == 1 else f"{step.sessions} sessions"
    about = f"95 % interval {_interval(step)} %, {shown}; before it {step.before}; {entry.method}"
    _add(made, "summary", "; ".join([about, *(f"differs: {text}" for text in step.differs)]))


def _add(parent: Xml.Element, name: str, text: str | None = None, **facts: str) -> Xml.Element:
    made = Xml.SubElement(parent, f"{{{_ATOM}}}{name}", facts)
    made.text = text
    return made
