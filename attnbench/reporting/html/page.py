"""Rendering a page into one file: its text, data, style and scripts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

from attnbench._version import __version__
from attnbench.errors import UsageError
from attnbench.reporting.html.figures import Plot
from attnbench.reporting.html.palette import DARK, LIGHT, classes, variables
from attnbench.reporting.html.table import HtmlTable

_NEEDED = ("jinja2",)
# In this order: each uses those before it.
_SCRIPTS = ("base", "scale", "plot", "picture", "filter", "table", "section", "picker", "page")


@dataclass(frozen=True, slots=True)
class PageData:
    """What the scripts of a page draw, by the key of its element."""

    plots: Iterable[Plot] = ()
    tables: Iterable[HtmlTable] = ()
    sections: Mapping[str, Any] = field(default_factory=dict)
    pickers: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The data as scripts/base.js reads it."""
        return {
            "figures": {plot.key: [c.figure for c in plot.choices] for plot in self.plots},
            "tables": {table.key: table.as_data() for table in self.tables},
            "sections": self.sections,
            "pickers": self.pickers,
        }


def require_extra(asked: str = "--html") -> None:
    """Raise UsageError if the packages for pages are not installed."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{asked} needs {' and '.join(missing)}, from the extra html; install it, e.g. "
            "pip install 'attnbench[html]'"
        )


def render(template: str, data: PageData, values: Mapping[str, object]) -> str:
    """The page of a template in `templates`; values are text, never markup."""
    return markup(
        template, {**values, "data": data.as_json(), "style": style(), "script": script()}
    )


def markup(template: str, values: Mapping[str, object]) -> str:
    """The text of a template in `templates`; values are text, never markup."""
    return str(_environment().get_template(template).render(values, version=__version__))


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("attnbench.reporting.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment


def style() -> str:
    """The style sheet of every page, with the colours of both themes."""
    text = _asset("templates/page.css")
    for theme, colours in (("light", LIGHT), ("dark", DARK)):
        text = text.replace(f"/* {theme} slots */", variables(theme, colours))
    return text + classes()


def script() -> str:
    """The scripts of every page, in one."""
    return "\n".join(_asset(f"scripts/{name}.js") for name in _SCRIPTS)


def _asset(path: str) -> str:
    return files("attnbench.reporting.html").joinpath(path).read_text(encoding="utf-8")
