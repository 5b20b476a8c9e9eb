"""A trace of whatever known format: its requests, or its batches as served."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from attnbench.errors import UsageError
from attnbench.text_file import MIB, read_text
from attnbench.traffic.csv_traces import read_csv
from attnbench.traffic.json_traces import json_lines, read_bench_serve, read_mooncake, read_served
from attnbench.traffic.requests import Requests, TracedRequest
from attnbench.traffic.schedule import Schedule
from attnbench.traffic.trace_line import ACCEPTED, TraceLine, fail_at

_MAX_CHARACTERS = 256 * MIB  # some ten million requests


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in order of arrival; those without output, such as failed ones, are only counted."""

    requests: Requests
    without_output: int = 0


def read_trace(path: Path) -> Trace | Schedule:
    """The requests of a trace, or the steps of a log of served batches.

    Raises UsageError, which names file, line and what is accepted, for anything else.
    """
    lines = _lines(path)
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip()[:1] == "[":
        fail_at(path, 1, "not JSON Lines but a JSON list, which jq -c '.[]' takes apart")
    rows = _json_rows(path, lines) if first.lstrip()[:1] == "{" else list(read_csv(path, lines))
    if isinstance(rows, Schedule):
        return rows
    kept = [row for row in rows if row.output_tokens]
    if not kept:
        fail_at(path, len(lines) or 1, "there is no request with output")
    return Trace(Requests.of(kept), len(rows) - len(kept))


def _lines(path: Path) -> list[str]:
    try:
        lines = read_text(path, _MAX_CHARACTERS, "utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} is not UTF-8 text; compressed files are to be unpacked first"
        raise UsageError(f"{path}: {problem}; {ACCEPTED}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); {ACCEPTED}") from None
    if not any(line.strip() for line in lines):
        fail_at(path, 1, "the file is empty")
    return lines


def _json_rows(path: Path, lines: Sequence[str]) -> list[TracedRequest] | Schedule:
    result = _whole_object(lines)
    if result is not None and "input_lens" in result:
        return list(read_bench_serve(path, result))
    rows = json_lines(path, lines) if result is None else iter([TraceLine(path, 1, result)])
    first = next(rows)
    if "input_lens" in first.fields:
        first.fail("several results of vllm bench serve; a trace is one of them, in its own file")
    if "total_input_tokens" in first.fields:
        first.fail(
            "a result of vllm bench serve without its requests; run it with --save-result "
            "--save-detailed"
        )
    if {"timestamp", "input_length", "output_length"} <= set(first.fields):
        return list(read_mooncake(chain([first], rows)))
    if not {"new", "total"} <= set(first.fields):
        keys = ",".join(first.fields)[:100]
        fail_at(path, first.number, f"keys that no known trace has: {keys}")
    return Schedule.of_batches(read_served(chain([first], rows)))


def _whole_object(lines: Sequence[str]) -> dict[str, object] | None:
    """The file as one JSON object; None if it is not one."""
    try:
        found = json.loads("\n".join(lines))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
