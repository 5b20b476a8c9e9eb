"""Texts that are longer than the room for them."""


def shorten(text: str, width: int) -> str:
    """The text with its middle left out where it is longer than `width`, 3 or more."""
    if len(text) <= width:
        return text
    tail = (width - 2) // 2
    return f"{text[: width - 2 - tail]}..{text[len(text) - tail :]}"
