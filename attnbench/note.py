"""Remarks to the user that stand beside the results."""

from collections.abc import Callable

Note = Callable[[str], None]  # shows a remark


def said_once(note: Note) -> Note:
    """For `NAME: REMARK` of threads that do the same: what one has remarked is not repeated."""
    said = dict[str, str]()  # the whole text, by the remark

    def say(text: str) -> None:
        _, _, remark = text.partition(": ")
        if said.setdefault(remark, text) is text:
            note(text)

    return say
