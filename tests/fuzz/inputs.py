"""Inputs for fuzzing: right texts with edits, and the examples that each run tries."""

import os
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.limits import limits

T = TypeVar("T")
# How many times as many inputs as in CI, where they are about 10,000; `make fuzz` sets it.
TIMES = int(os.environ.get("ATTNBENCH_FUZZ", "1"))
FIXED = 20  # the seed of the inputs that every run tries
NEW = 0.05  # so many more, new in each run

NUMBERS = ["0", "1", "-1", "7", "1.5", "1k", "1024m", "1e9", "1e999", "nan", "inf", "9" * 20]
NUMBERS += ["9" * 5000, "0x10", "1_0", "\uff11", "+3", " 4", "1e-320", "2147483648", ""]
WORDS = ["all", "auto", "true", "null", "~", "latest", "\x00", "\x1b[31m", "\udcff", "\ud800", "é"]
WORDS += [
    "🂡",
    "'",
    '"',
    "=",
    "..",
    "/",
    "%s",
    "{}",
    "[]",
    "a" * 300,
    "--",
    "-",
    "\r",
    "\t",
    "\u202e",
]
SYNTAX = list("{}[]():,_.=<>!~&*|-#\n ")
ODD = [*NUMBERS, *WORDS, *SYNTAX]


def odd_text() -> st.SearchStrategy[str]:
    """A value that somebody might type, or nobody."""
    any_text = st.one_of(st.sampled_from(ODD), st.text(max_size=12), st.integers().map(str))
    return any_text.map(typed)


def typed(text: str) -> str:
    """The text as a command line can have it: without NUL, and surrogates for bytes alone."""
    return re.sub("[\0\ud800-\udc7f\udd00-\udfff]", "", text)


@st.composite
def edited(draw: st.DrawFn, texts: Sequence[str], tokens: Sequence[str]) -> str:
    """One of the texts with up to four edits: a part taken out, doubled, or replaced."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(text) - 1)))
        end = min(len(text), at + draw(st.sampled_from([0, 1, 1, 2, 5, 20, 200])))
        put = draw(st.sampled_from([*tokens, text[at:end] * 2, ""]))
        text = text[:at] + put + text[end:]
    return text


def fuzz(inputs: st.SearchStrategy[T], check: Callable[[T], None], count: int) -> None:
    """Check `count` inputs of a fixed seed, and a few that are new in each run."""
    _examples(inputs, check, count, is_fixed=True)
    _examples(inputs, check, int(count * NEW) + 1, is_fixed=False)


def _examples(
    inputs: st.SearchStrategy[T], check: Callable[[T], None], count: int, *, is_fixed: bool
) -> None:
    def within_limits(each: T) -> None:
        with limits():
            check(each)

    test = settings(
        max_examples=count * TIMES,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )(given(inputs)(within_limits))
    (seed(FIXED)(test) if is_fixed else test)()
