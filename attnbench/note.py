"""Remarks to the user that stand beside the results."""

from collections.abc import Callable

Note = Callable[[str], None]  # shows a remark
