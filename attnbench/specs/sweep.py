"""Sweeps: batch specs with braces, `{1..64:x2}q1kv{1k..32k:x2}`, and lists of whole numbers.

Braces, and the texts of `expand_values`, hold values and ranges joined by commas; a range is
`FIRST..LAST`, LAST included, with `:STEP` to add or `:xFACTOR` to multiply by. Values are sizes,
so 2k is 2048.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from attnbench.note import Note
from attnbench.specs.batch import Batch, parse_batch_spec
from attnbench.specs.scanner import BatchSpecError, Scanner, caret_error, quoted

MAX_EXPANDED = 100_000  # specs of one sweep, or values of one list
MAX_TOTAL_REQUESTS = 2_000_000  # over all batches of one command, also those that are dropped

_ACCEPTED_VALUES = "1,2,4 or 1..16 or 1..16:5 to add 5 or 1k..32k:x2 to double"
_ACCEPTED = f"braces with {_ACCEPTED_VALUES}, e.g. {{1,2}}q1kv{{1k..32k:x2}}"


def expand_sweep(text: str, note: Note | None = None) -> list[Batch]:
    """The batches of one sweep; see `expand_sweeps`."""
    return expand_sweeps([text], note)


def expand_sweeps(texts: Iterable[str], note: Note | None = None) -> list[Batch]:
    """The batches of all sweeps in order, each a cartesian product, the first braces outermost.

    Batches that execute alike are kept once. `note` is called with the number dropped, and once
    per sweep with older spellings. Raises BatchSpecError for a sweep that cannot be read, for an
    expanded spec that is not a batch, and for more than MAX_EXPANDED specs or MAX_TOTAL_REQUESTS
    requests.
    """
    kept: dict[str, Batch] = {}
    dropped: list[str] = []
    total = 0
    for text in texts:
        for batch in _parse_expanded(text, note):
            total += len(batch)
            if total > MAX_TOTAL_REQUESTS:
                raise BatchSpecError(
                    f"{quoted(text)} brings the batches to over {MAX_TOTAL_REQUESTS} requests; "
                    "fewer or smaller batches are accepted, e.g. {1..64:x2}q1kv1k"
                )
            executed = str(batch.in_execution_order())
            if executed in kept:
                dropped.append(str(batch))
            kept.setdefault(executed, batch)
    if dropped and note:
        note(_dropped_sentence(dropped))
    return list(kept.values())


def expand_values(text: str) -> list[int]:
    """Whole numbers from 1 such as `1,2,4` or `1..64:x2`, each once, in the order given.

    Raises BatchSpecError for text that cannot be read and for more than MAX_EXPANDED values.
    """
    return list(dict.fromkeys(_read_values(Scanner(text, 0, len(text), _ACCEPTED_VALUES))))


def _parse_expanded(text: str, note: Note | None) -> Iterator[Batch]:
    older: list[str] = []
    for spec in _expand(text):
        try:
            batch = parse_batch_spec(spec, older.append)
        except BatchSpecError as error:
            if spec == text:
                raise
            raise BatchSpecError(f"{error}\nexpanded from {quoted(text)}") from None
        yield batch
    if older and note:
        others = f", and so on for {len(older)} specs of {quoted(text)}"
        note(older[0] + (others if len(older) > 1 else ""))


def _expand(text: str) -> Iterator[str]:
    literals, axes = [], []
    at, num_specs = 0, 1
    for opened, closed in _brace_pairs(text):
        literals.append(text[at:opened])
        axes.append(_read_values(Scanner(text, opened + 1, closed, _ACCEPTED)))
        at = closed + 1
        num_specs *= len(axes[-1])
        if num_specs > MAX_EXPANDED:
            raise caret_error(text, opened, f"over {MAX_EXPANDED} specs in one sweep", _ACCEPTED)
    for values in product(*axes):
        pairs = zip(literals, values, strict=True)
        yield "".join(f"{literal}{value}" for literal, value in pairs) + text[at:]


def _brace_pairs(text: str) -> list[tuple[int, int]]:
    """The positions of each '{' and of the '}' that closes it."""
    pairs = []
    opened = None
    for brace in re.finditer("[{}]", text):
        at = brace.start()
        if brace[0] == "{":
            if opened is not None:
                raise caret_error(text, at, "braces do not nest", _ACCEPTED)
            opened = at
        elif opened is None:
            raise caret_error(text, at, "no '{' opens this '}'", _ACCEPTED)
        else:
            pairs.append((opened, at))
            opened = None
    if opened is not None:
        raise caret_error(text, opened, "no '}' closes this '{'", _ACCEPTED)
    return pairs


def _read_values(scanner: Scanner) -> list[int]:
    values: list[int] = []
    comma = True
    while comma:
        start = scanner.position
        some = _read_range(scanner)
        if len(values) + len(some) > MAX_EXPANDED:
            scanner.fail(f"over {MAX_EXPANDED} values", start)
        values += some
        comma = bool(scanner.accept(","))
    scanner.finish()
    return values


def _read_range(scanner: Scanner) -> Sequence[int]:
    first = scanner.size()
    if not scanner.accept(r"\.\."):
        return [first]
    last_at = scanner.position
    last = scanner.size()
    if last < first:
        scanner.fail(f"a range that ends at {last}, before its start {first}", last_at)
    if not scanner.accept(":"):
        return range(first, last + 1)
    if not scanner.accept("x"):
        return range(first, last + 1, scanner.size())
    factor_at = scanner.position
    factor = scanner.size()
    if factor == 1:
        scanner.fail("a factor of 1 never ends; the least is 2", factor_at)
    values = [first]
    while values[-1] * factor <= last:
        values.append(values[-1] * factor)
    return values


def _dropped_sentence(dropped: list[str]) -> str:
    if len(dropped) == 1:
        return f"dropped {quoted(dropped[0])}, which executes like another batch"
    return (
        f"dropped {len(dropped)} batches that execute like others, the first of them "
        f"{quoted(dropped[0])}"
    )
