"""Markdown pages as the tests of the documentation read them."""

import re
import shlex
from collections.abc import Iterator
from string import Template

import yaml

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:^ {4,}.*\n)+", re.MULTILINE)
_INLINE = re.compile(r"`([^`]+)`")
_CELL_END = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"^:?-{2,}(:?)$")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")
_CONTINUED = re.compile(r" *\\\n *")
# After variables, a prompt or a workflow's `run:`. Help is indented by two; further in it is prose.
_BEFORE = r"(?:- )?(?:run: |\$ |sh -c \"1)?(?:[A-Z_]+=\S+ )*"
_COMMAND = re.compile(
    rf"^ *{_BEFORE}attnbench (?!\\?\| )(.+)", re.MULTILINE
)  # alone, it may be piped
_COMMAND_IN_HELP = re.compile(r"^ {0,2}attnbench (.+)", re.MULTILINE)
_END = re.compile(r" {2,}| [|>&] ")  # an aligned remark, or what the shell does with the output


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of that language."""
    return [body for name, body in _BLOCK.findall(text) if name == language]


def links(text: str) -> list[str]:
    """The relative targets of links and images, in order."""
    targets = _LINK.findall(_prose(text))
    return [target for target in targets if not re.match("[a-z]+:", target)]


def anchors(text: str) -> set[str]:
    """What `#anchor` may name: headings as GitHub spells them."""
    headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(text: str) -> Iterator[list[str]]:
    """The words after `attnbench` of each command in code: fenced, indented or inline.

    `$NAME` is replaced from the `env:` of its own YAML block, and `$(...)` by a 1, as it could
    print a run's number; the command within is one of its own. A closing `...` is left out.
    """
    for code, pattern in _code(text):
        for line in pattern.findall(_SUBSTITUTION.sub("1", code)):
            yield _words(line)
        for inner in _SUBSTITUTION.findall(code):
            yield from (_words(line) for line in pattern.findall(inner))


def options(text: str) -> set[str]:
    """The options that inline code names by themselves, such as `--rounds 5`."""
    spans = [span for span in _INLINE.findall(_prose(text)) if span.startswith("--")]
    return {name for span in spans for name in re.findall(r"(?<!\S)--[a-z][\w-]*", span)}


def _words(line: str) -> list[str]:
    words = shlex.split(_END.split(line)[0], comments=True)
    return words[:-1] if words[-1:] == ["..."] else words


def _code(text: str) -> Iterator[tuple[str, re.Pattern[str]]]:
    """The code of a page, with the pattern of a command in it."""
    for language, body in _BLOCK.findall(text):
        joined = _CONTINUED.sub(" ", body)
        if language == "yaml":
            joined = Template(joined).safe_substitute(_variables(body))
        yield joined, _COMMAND_IN_HELP if language == "text" else _COMMAND
    for body in _INDENTED.findall(_BLOCK.sub("", text)):
        yield _CONTINUED.sub(" ", body), _COMMAND
    for span in _INLINE.findall(_prose(text)):
        yield " ".join(span.split()), _COMMAND


def _prose(text: str) -> str:
    """The page without its blocks of code."""
    return _INDENTED.sub("", _BLOCK.sub("", text))


def _variables(block: str) -> dict[str, str]:
    """The `env:` of a workflow."""
    page = yaml.safe_load(block)
    return dict(page.get("env", {})) if isinstance(page, dict) else {}


def unpadded(text: str) -> str:
    """Markdown with the cells of its tables without padding, and rules of three dashes."""
    return "\n".join(map(_unpadded_line, text.split("\n")))


def _unpadded_line(line: str) -> str:
    if not line.startswith("|"):
        return line
    cells = (_RULE.sub(r"---\1", cell.strip()) for cell in _CELL_END.split(line)[1:-1])
    return f"| {' | '.join(cells)} |"
