"""Text in a CSV file: a spreadsheet must not run it as a formula."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_text(value: object) -> object:
    """The value; a text that a spreadsheet would take for a formula gets a leading apostrophe.

    >>> csv_text("=1+1"), csv_text(-1.5)
    ("'=1+1", -1.5)
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
