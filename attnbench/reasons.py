"""Reasons for failures, in short."""

import re


def first_line(error: BaseException) -> str:
    """The first line of an error's text."""
    return str(error).strip().partition("\n")[0]


def with_type(error: BaseException) -> str:
    """The first line of an error's text, after its type."""
    return f"{type(error).__name__}: {first_line(error)}"


# PyTorch's paragraph on memory: six sentences, with advice on its allocator.
_CUDA_MEMORY = re.compile(
    r"CUDA out of memory\. Tried to allocate (?P<asked>[\d.]+ \w+)\. GPU \d+ has a total capacity "
    r"of (?P<all>[\d.]+ \w+) of which (?P<free>[\d.]+ \w+) is free\..*",
    re.DOTALL,
)


def in_short(reason: str) -> str:
    """The reason, PyTorch's on memory in one line.

    >>> in_short("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
    ...          "139.81 GiB of which 1.10 GiB is free. Including non-PyTorch memory, ...")
    'CUDA out of memory: 2.00 GiB asked for, 1.10 of 139.81 GiB free'
    """
    if found := _CUDA_MEMORY.fullmatch(reason):
        free, whole = found["free"], found["all"]
        same_unit = free.split()[1] == whole.split()[1]
        left = free.split()[0] if same_unit else free
        return f"CUDA out of memory: {found['asked']} asked for, {left} of {whole} free"
    return reason
