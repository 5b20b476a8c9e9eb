"""Values of a trace's lines, with errors that name file, line and field."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from attnbench.errors import UsageError
from attnbench.shorten import shorten
from attnbench.traffic.requests import MOST_SECONDS

MAX_TOKENS = 2**24  # of a request; longer than any model's context
ACCEPTED = (
    "accepted are Azure's CSV (TIMESTAMP,ContextTokens,GeneratedTokens), BurstGPT's CSV, "
    "Mooncake's JSONL, the result JSON of vllm bench serve, a CSV with "
    "arrival_s,prompt_tokens,output_tokens[,cached_tokens], and a JSONL log of served batches, "
    'e.g. {"new": [1, 512], "total": [900, 512]}'
)


@dataclass(frozen=True, slots=True)
class TraceLine:
    """The fields of one line, or of one request in a file that is a single JSON object."""

    path: Path
    number: int  # from 1
    fields: Mapping[str, Any]

    def fail(self, problem: str) -> NoReturn:
        """Raise UsageError for a value of this line, in a format that is known."""
        raise UsageError(f"{self.path}:{self.number}: {problem}")

    def tokens(self, name: str, least: int = 0) -> int:
        """A number of tokens, at least `least`."""
        return self.whole(name, self.fields.get(name), least)

    def token_list(self, name: str) -> list[int]:
        """A list of one or more numbers of tokens, each at least 1."""
        listed = self.fields.get(name)
        if not isinstance(listed, list) or not listed:
            self.fail(f"{name} is {_shown(listed)}, not a list of tokens, e.g. [1, 512]")
        return [self.whole(name, each, 1) for each in listed]

    def whole(self, name: str, value: Any, least: int) -> int:
        """A value of the field `name` as a whole number; pandas writes some as 512.0."""
        number = _number(value)
        if not (number.is_integer() and least <= number <= MAX_TOKENS):
            self.fail(
                f"{name} is {_shown(value)}, not a whole number from {least} to {MAX_TOKENS}, "
                "e.g. 512"
            )
        return int(number)

    def seconds(self, name: str) -> float:
        """A time in seconds."""
        value = self.fields.get(name)
        number = _number(value)
        if not abs(number) <= MOST_SECONDS:
            self.fail(f"{name} is {_shown(value)}, not a number up to {MOST_SECONDS:g}, e.g. 12.5")
        return number

    def date(self, name: str) -> float:
        """A date with a time, in seconds; without a zone it is in UTC."""
        try:
            when = datetime.fromisoformat(str(self.fields.get(name)))
        except ValueError:
            self.fail(
                f"{name} is {_shown(self.fields.get(name))}, not a date with a time, "
                "e.g. 2023-11-16 18:17:03.97"
            )
        return when.replace(tzinfo=when.tzinfo or UTC).timestamp()


def fail_at(path: Path, line: int, problem: str) -> NoReturn:
    """Raise UsageError, with the formats that are accepted, for a line of another."""
    raise UsageError(f"{path}:{line}: {problem}; {ACCEPTED}")


def _number(value: Any) -> float:
    """A value as a float; NaN for what is not a number, or too large."""
    try:
        return float(value) if _is_plain(value) else math.nan
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _is_plain(value: Any) -> bool:
    """Whether it has none of the forms that Python reads as a number and other tools do not."""
    return not isinstance(value, bool) and str(value).isascii() and "_" not in str(value)


def _shown(value: Any) -> str:
    return "missing" if value is None else f"'{shorten(str(value), 40)}'"
