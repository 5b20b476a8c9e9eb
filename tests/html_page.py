"""A page that a command writes, without a browser: its elements and the data of its scripts."""

import json
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from attnbench.cli import cli
from attnbench.reporting.html.packed import unpacked

VOID = {"meta", "link", "input", "br"}


class Parsed(HTMLParser):
    """A page's elements with their texts, and the attributes of each."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts[tag][-1] += data

    def all(self, tag: str) -> list[str]:
        """The texts of all elements of a kind, without needless spaces."""
        return [" ".join(text.split()) for text in self.texts.get(tag, [])]

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @cached_property
    def data(self) -> dict[str, Any]:
        """What the page's scripts draw."""
        found: dict[str, Any] = json.loads(self.texts["script"][0])
        return found

    @property
    def figures(self) -> dict[str, list[dict[str, Any]]]:
        """The plots with figures of their own, each with its choices."""
        found: dict[str, list[dict[str, Any]]] = self.data["figures"]
        return found

    def columns(self, key: str = "part0-table") -> dict[str, list[Any]]:
        """The texts of a table, by heading."""
        table = self.data["tables"][key]
        texts = [unpacked(column["texts"]) for column in table["columns"]]
        return dict(zip([head["text"] for head in table["heads"]], texts, strict=True))

    def measured(self, key: str = "part0-plots") -> dict[str, list[Any]]:
        """The columns of numbers that a section's plots are drawn from."""
        rows = self.data["sections"][key]["rows"]
        return {name: unpacked(column) for name, column in rows.items()}


def run(path: Path, *args: str) -> Result:
    return CliRunner().invoke(cli, [*args, "--db", str(path)], catch_exceptions=False)


def written(db: Path, *args: str) -> str:
    """The page that a command writes."""
    path = db.with_name("page.html")
    found = run(db, *args, "--html", str(path))
    assert found.exit_code in (0, 1), found.output
    return path.read_text(encoding="utf-8")
