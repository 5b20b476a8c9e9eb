"""Rendering a page into one file: its text, data, style and scripts."""

from collections.abc import Iterable, Mapping
from importlib.util import find_spec

from attnbench._version import __version__
from attnbench.errors import UsageError
from attnbench.reporting.html.figures import Plot

_NEEDED = ("jinja2", "plotly")


def require_extra() -> None:
    """Raise UsageError if the packages for pages are not installed."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"--html needs {' and '.join(missing)}, from the extra html; install it, e.g. "
            "pip install 'attnbench[html]'"
        )


def render(template: str, plots: Iterable[Plot], values: Mapping[str, object]) -> str:
    """The page of a template in `templates`; values are text, never markup."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("attnbench.reporting.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    figures = {plot.key: [choice.figure for choice in plot.choices] for plot in plots}
    return environment.get_template(template).render(
        values, figures=figures, plotly=get_plotlyjs(), version=__version__
    )
