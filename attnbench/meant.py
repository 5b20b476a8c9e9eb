"""What a misspelt name most likely meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def meant(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """A question to put behind the name in an error; empty if no name is near.

    >>> meant("kvlen", ["q_len", "kv_len"])
    ' (did you mean kv_len?)'
    """
    near = get_close_matches(name, names, n=1, cutoff=cutoff)
    return f" (did you mean {near[0]}?)" if near else ""
