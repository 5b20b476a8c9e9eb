"""Shortening texts to a width."""


def shorten(text: str, width: int) -> str:
    """The text, without its middle if longer than `width`, which is at least 3."""
    if len(text) <= width:
        return text
    tail = (width - 2) // 2
    return f"{text[: width - 2 - tail]}..{text[len(text) - tail :]}"
