"""Files of other tools: recognised by content, read row by row, stored as runs."""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from hashlib import sha256
from pathlib import Path

from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.imports import flashinfer_suite, vllm_suite
from attnbench.imports.result import BEYOND, ForeignFile, ForeignResult, NotMapped, Row
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source
from attnbench.records import RunStatus
from attnbench.specs.shape import Shape
from attnbench.text_file import MIB, read_text

COMMAND = "import"  # of imported runs
_OURS = {"uuid", "run_uuid", "case_key"}  # columns of our own exports
MAX_CHARACTERS = 64 * MIB  # of a file

_Reader = Callable[[Row, Shape | None], ForeignResult]
_ACCEPTED = (
    "accepted are the JSON and CSV of vLLM's attention benchmark suite (--output-json, "
    "--output-csv) and the CSV of flashinfer_benchmark.py (--output_path)"
)


def read_file(path: Path, shape: Shape | None) -> ForeignFile:
    """All rows of a file; `shape` is for rows without their own.

    Raises UsageError for any other file.
    """
    content = _content(path)
    tool, reader, rows = _recognised(path, content)
    results, dropped = [], defaultdict(list)
    for number, row in enumerate(rows, 1):
        try:
            results.append(reader(row, shape))
        except NotMapped as why:
            dropped[str(why)].append(number)
    return ForeignFile(tool, results, dropped, sha256(content.encode()).hexdigest())


def store_file(
    store: Store, file: ForeignFile, *, argv: Sequence[str], label: str | None, gpu: str | None
) -> tuple[int, bool]:
    """Store the rows with a counterpart as a finished run; returns its number, and if it is new.

    Rows of the same case become its rounds. A file whose rows are stored already, of the same GPU
    and under the same label, is not stored again.
    """
    machine = Machine(kind="foreign", device="unknown", name=gpu or "unknown machine")
    for earlier in store.runs():
        same = earlier.options.get("digest") == file.digest and earlier.label == label
        if same and earlier.machine_name == machine.name and _holds(store, earlier.number, file):
            return earlier.number, False
    return _stored(store, file, argv, label, machine), True


def _holds(store: Store, run: int, file: ForeignFile) -> bool:
    """Whether a run has the same cases; rows without dims get them from the command line."""
    stored = {each.case.key for each in store.measurements([run])}
    return stored == {each.case.key for each in file.results}


def _stored(
    store: Store, file: ForeignFile, argv: Sequence[str], label: str | None, machine: Machine
) -> int:
    run = store.start_run(
        command=COMMAND,
        argv=argv,
        label=label,
        options={"tool": file.tool, "digest": file.digest},
        plan={},
        machine=machine,
        environment=Environment("unknown"),
        source=Source("none"),
    )
    rounds: Counter[tuple[str, str]] = Counter()
    try:
        for position, each in enumerate(file.results):
            key = each.case.key, each.method.key
            store.add(run, each.case, each.method, rounds[key], position, each.outcome)
            rounds[key] += 1
        store.finish_run(run, RunStatus.FINISHED)
    except BaseException:  # Ctrl-C too: half a file is not a run
        store.delete(run)
        raise
    return run


def _recognised(path: Path, content: str) -> tuple[str, _Reader, Sequence[Row]]:
    if content.lstrip().startswith("["):
        return "vllm", vllm_suite.read_json_row, _json_rows(path, content)
    rows = _csv_rows(path, content)
    columns = set(rows[0]) if rows else set()
    if columns >= vllm_suite.CSV_COLUMNS:
        return "vllm", vllm_suite.read_csv_row, rows
    if columns >= flashinfer_suite.CSV_COLUMNS:
        return "flashinfer", flashinfer_suite.read_csv_row, rows
    raise _unknown(path, columns)


def _unknown(path: Path, columns: Collection[str]) -> UsageError:
    if _OURS.issubset(columns):
        return UsageError(
            f"{path} is attnbench's own; its results are in the database it came from, which "
            "`attnbench db merge OTHER.db` copies"
        )
    return UsageError(f"{path} was not written by a known tool; {_ACCEPTED}")


def _content(path: Path) -> str:
    """The text of a file, without a byte order mark."""
    try:
        return read_text(path, MAX_CHARACTERS, "utf-8-sig", newline="")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}); {_ACCEPTED}") from None


def _csv_rows(path: Path, content: str) -> Sequence[Row]:
    try:
        return list(csv.DictReader(content.splitlines(), restkey=BEYOND))
    except csv.Error as error:
        raise UsageError(f"{path} is not CSV ({error}); {_ACCEPTED}") from None


def _json_rows(path: Path, content: str) -> Sequence[Row]:
    try:
        rows = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON ({error}); {_ACCEPTED}") from None
    if not vllm_suite.is_vllm_json(rows):
        raise _unknown(path, rows[0] if rows and isinstance(rows[0], dict) else ())
    found: Sequence[Row] = rows
    return found
