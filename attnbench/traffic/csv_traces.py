"""CSV traces: Azure's, BurstGPT's and our own, recognised by their columns."""

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from attnbench.traffic.requests import TracedRequest
from attnbench.traffic.trace_line import TraceLine, fail_at

_CACHED = "cached_tokens"  # a column of our own that may be missing
Reader = Callable[[TraceLine], TracedRequest]


def read_csv(path: Path, lines: Sequence[str]) -> Iterator[TracedRequest]:
    """The requests of a CSV file; UsageError for other columns or a bad value."""
    rows = csv.reader(lines)
    try:
        columns = [name.strip() for name in next(rows)]
        reader = _reader(path, columns)
        for values in rows:
            if any(value.strip() for value in values):
                yield reader(_line(path, rows.line_num, columns, values))
    except csv.Error as error:
        fail_at(path, rows.line_num, f"this is not CSV ({error})")


def _line(path: Path, number: int, columns: list[str], values: list[str]) -> TraceLine:
    line = TraceLine(path, number, dict(zip(columns, values, strict=False)))
    if len(values) != len(columns):
        line.fail(f"{len(values)} values for {len(columns)} columns")
    return line


def _reader(path: Path, columns: Sequence[str]) -> Reader:
    found = (needed for needed in _READERS if set(needed) <= set(columns))
    if (needed := next(found, None)) is None:
        fail_at(path, 1, f"columns that no known trace has: {','.join(columns)[:100]}")
    if twice := [name for name in (*needed, _CACHED) if columns.count(name) > 1]:
        fail_at(path, 1, f"more than one column {twice[0]}")
    return _READERS[needed]


def _azure(line: TraceLine) -> TracedRequest:
    prompt, output = line.tokens("ContextTokens", 1), line.tokens("GeneratedTokens")
    return TracedRequest(line.date("TIMESTAMP"), prompt, output)


def _burst_gpt(line: TraceLine) -> TracedRequest:
    """A request that failed has no response tokens."""
    prompt, output = line.tokens("Request tokens", 1), line.tokens("Response tokens")
    return TracedRequest(line.seconds("Timestamp"), prompt, output)


def _own(line: TraceLine) -> TracedRequest:
    prompt, output = line.tokens("prompt_tokens", 1), line.tokens("output_tokens")
    cached = line.tokens(_CACHED) if line.fields.get(_CACHED) else 0
    if cached > prompt:
        line.fail(f"{_CACHED} {cached} is more than prompt_tokens {prompt}")
    return TracedRequest(line.seconds("arrival_s"), prompt, output, cached)


_READERS: dict[tuple[str, ...], Reader] = {
    ("TIMESTAMP", "ContextTokens", "GeneratedTokens"): _azure,
    ("Timestamp", "Request tokens", "Response tokens"): _burst_gpt,
    ("arrival_s", "prompt_tokens", "output_tokens"): _own,
}
