"""YAML files whose errors name the file, the line and the key."""

import itertools
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yaml.constructor import SafeConstructor

from attnbench.errors import UsageError
from attnbench.shorten import shorten
from attnbench.text_file import MIB, read_text

MAX_NODES = 100_000
_MAX_CHARACTERS = 16 * MIB


@dataclass(frozen=True, slots=True)
class Entry:
    """The content of a key in a YAML file, not yet read."""

    file: str
    key: str
    node: yaml.Node

    @property
    def line(self) -> int:
        """The line where it starts, from 1."""
        return int(self.node.start_mark.line) + 1

    def fail(self, problem: str) -> NoReturn:
        """Raise UsageError for this entry."""
        what = f"{shorten(self.key, 60)}: {shorten(problem, 1000)}"
        raise UsageError(f"{self.file}:{self.line}: {what}")

    def mapping(self, known: Collection[str] | None = None) -> dict[str, "Entry"]:
        """The entries by key; repeated keys and keys that are not `known` are refused."""
        if not isinstance(self.node, yaml.MappingNode):
            self.fail(f"expected `key: value` lines, read {self._shown}")
        found: dict[str, Entry] = {}
        for key_node, node in self.node.value:
            is_word = isinstance(key_node, yaml.ScalarNode)
            key = str(key_node.value) if is_word else "a list or keys in place of a key"
            entry = Entry(self.file, key, key_node)
            if key in found:
                entry.fail("this key is repeated; leave one of them out")
            if known is not None and key not in known:
                entry.fail(f"unknown key; accepted here are {', '.join(sorted(known))}")
            found[key] = Entry(self.file, key, node)
        return found

    def items(self) -> list["Entry"]:
        """The items of a list; a single value is a list of one."""
        if isinstance(self.node, yaml.SequenceNode):
            if not self.node.value:
                self.fail("an empty list; give one or more values, or leave the key out")
            return [Entry(self.file, self.key, node) for node in self.node.value]
        return [self]

    def text(self) -> str:
        """One value as written."""
        if not isinstance(self.node, yaml.ScalarNode):
            self.fail(f"expected one value, read {self._shown}")
        return str(self.node.value)

    def texts(self) -> tuple[str, ...]:
        """The values of a list, or one value; without repetition."""
        found = tuple(item.text() for item in self.items())
        for at, text in enumerate(found):
            if text in found[:at]:
                self.items()[at].fail(f"{text} is repeated; leave one of them out")
        return found

    def value(self) -> Any:
        """One value as YAML reads it: a text, a number or a boolean."""
        text = self.text()
        try:
            return SafeConstructor().construct_object(self.node) if text else text
        except (yaml.YAMLError, ValueError) as error:  # a tag, a date that there is not
            why = str(getattr(error, "problem", None) or error)
            self.fail(f"'{shorten(text, 40)}' cannot be read: {why}")

    @property
    def _shown(self) -> str:
        if isinstance(self.node, yaml.MappingNode):
            return "keys"
        return "a list" if isinstance(self.node, yaml.SequenceNode) else f"'{self.node.value}'"


def read_yaml(text: str, file: str) -> Entry:
    """The whole file; UsageError for an empty text or one that is not YAML."""
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or str(error)
        raise UsageError(f"{file}:{line}: this is not YAML: {problem}") from None
    except RecursionError:
        raise UsageError(f"{file}:1: lists and keys are nested too deep") from None
    if node is None:
        raise UsageError(f"{file}:1: the file is empty; `attnbench study show` prints one to copy")
    return Entry(file, "(file)", node)


def plain_yaml(text: str, file: str) -> Any:
    """The whole file as lists, dicts and values; UsageError as `read_yaml`.

    Anchors may repeat a node so often that no memory would hold it written out; this is refused.
    """
    node = read_yaml(text, file).node
    if _written_out(node, {}) > MAX_NODES:
        raise UsageError(f"{file}:1: over {MAX_NODES} values with all anchors written out")
    try:
        return yaml.SafeLoader("").construct_document(node)
    except (yaml.YAMLError, ValueError, TypeError) as error:
        mark = getattr(error, "problem_mark", None) or node.start_mark
        raise UsageError(f"{file}:{mark.line + 1}: this cannot be read: {error}") from None


def _written_out(node: yaml.Node, sizes: dict[int, float]) -> float:
    """The number of nodes with all anchors written out; a node within itself is infinite."""
    if id(node) not in sizes:
        sizes[id(node)] = math.inf
        below = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = itertools.chain(*below) if isinstance(node, yaml.MappingNode) else below
        sizes[id(node)] = 1 + sum(_written_out(part, sizes) for part in parts)
    return sizes[id(node)]


def read_utf8(path: Path) -> str:
    """The text of a file; UsageError if it is not UTF-8."""
    try:
        return read_text(path, _MAX_CHARACTERS)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}: byte {error.start} is not UTF-8 text; expected a YAML file, e.g. one that "
            "`attnbench study show numsplits` prints"
        ) from None
