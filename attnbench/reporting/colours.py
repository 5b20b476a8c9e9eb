"""Colours of a terminal's tables: by the place or verdict of what a row shows."""

from collections.abc import Mapping

# SGR parameters: bold, red, green, yellow and dim.
_CODES: Mapping[str, str] = {
    "best": "1",
    "slower": "31",
    "now fails": "31",
    "wrong": "31",
    "faster": "32",
    "now runs": "32",
    "unclear": "33",
    "same": "2",
}


def coloured(text: str, look: str) -> str:
    """The text in the colour of a place or verdict; as it is for others.

    >>> coloured("sdpa", "best")
    '\\x1b[1msdpa\\x1b[0m'
    """
    code = _CODES.get(look)
    return f"\x1b[{code}m{text}\x1b[0m" if code and text else text
