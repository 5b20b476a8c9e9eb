"""Markdown in which labels and reasons have no effect: they can hold anything."""

import re

from attnbench.printable import printable


def plain_markdown(text: str) -> str:
    """The text without tags, mentions on GitHub and control characters.

    >>> plain_markdown("<b> @all")
    '&lt;b> &#64;all'
    """
    text = printable(text, keep="\n").replace("<", "&lt;")
    return re.sub(r"(?<!\w)@(?=\w)", "&#64;", text)
