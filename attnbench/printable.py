"""Texts from outside, such as labels and a kernel's errors, shown without effect on a terminal."""


def printable(text: str, keep: str = "") -> str:
    r"""The text with control characters, escapes and broken bytes, except `keep`, written out.

    >>> printable("a\x1b[31mred\nb")
    'a\\x1b[31mred\\nb'
    """
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape").decode()
        for each in text
    )
