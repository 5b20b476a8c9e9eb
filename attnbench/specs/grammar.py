"""The grammar of batch specs: text to segments of equal requests.

    spec    = segment *("_" segment)
    segment = [COUNT] "q" SIZE [("kv" | "s") SIZE ["~" SPREAD]]
            | [COUNT] "s" SIZE                  older: decodes, q_len 1
            | [COUNT] "spec" SIZE "s" SIZE      older: spec-decodes
            | [COUNT] "chunk" SIZE "q" SIZE     older: prefills; no tool ever used the chunk size

A size counts tokens; k is x 1024, m is x 1024^2. Letters may be upper case. SPREAD is one of
specs/ragged.py: kv is then the mean of the requests' lengths.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from attnbench.specs.ragged import SPREADS, Spread, spread_out
from attnbench.specs.scanner import Scanner

MAX_REQUESTS = 1_000_000  # in one batch
MOST_MEAN = 1024**2  # of ragged lengths, the longest of which may be a hundred times as long

ACCEPTED = (
    "[COUNT]qLEN[kvLEN[~SPREAD]], sizes with k or m, segments joined by '_', e.g. 2q2k_32q1kv1k"
)


@dataclass(frozen=True, slots=True)
class Segment:
    """`count` requests; lengths in tokens, kv_len with the new tokens included."""

    count: int
    q_len: int
    kv_len: int
    form: str  # the keyword it opened with; all but q are older spellings
    spread: Spread | None = None  # of the contexts, whose mean kv_len gives; None for equal ones

    def lengths(self) -> Iterator[tuple[int, int, int]]:
        """Neighbours that are equal: their number, q_len and kv_len."""
        if self.spread is None:
            yield self.count, self.q_len, self.kv_len
            return
        for context in spread_out(self.count, self.kv_len - self.q_len, self.spread):
            yield 1, self.q_len, self.q_len + context


def read_segments(text: str) -> list[Segment]:
    """The segments of a spec, at most MAX_REQUESTS requests together; raises BatchSpecError."""
    segments = []
    start, room = 0, MAX_REQUESTS
    for part in text.split("_"):
        segment = _read_segment(Scanner(text, start, start + len(part), ACCEPTED), room)
        segments.append(segment)
        room -= segment.count
        start += len(part) + len("_")
    return segments


def _read_segment(scanner: Scanner, room: int) -> Segment:
    count = _read_count(scanner, room)
    form = scanner.accept("q|spec|s|chunk") or _fail_without_form(scanner)
    q_len = kv_len = scanner.size()
    kv_at, spread = scanner.position, None
    if form == "s":
        q_len = 1
    elif form == "chunk":
        if not scanner.accept("q"):
            scanner.fail("'q' should follow the chunk size")
        q_len = kv_len = scanner.size()
    elif scanner.accept("s" if form == "spec" else "kv|s"):
        kv_at = scanner.position
        kv_len = scanner.size()
        spread = _read_spread(scanner) if form == "q" else None
        if spread and kv_len > MOST_MEAN:
            scanner.fail(f"a mean over {MOST_MEAN // 1024**2}m", kv_at)
    elif form == "spec":
        scanner.fail("'s' should follow the number of new tokens")
    scanner.finish()
    if kv_len < q_len:
        scanner.fail(f"kv {kv_len} is under q {q_len}, and kv counts the new tokens too", kv_at)
    return Segment(count, q_len, kv_len, form, spread)


def _read_spread(scanner: Scanner) -> Spread | None:
    if not scanner.accept("~"):
        return None
    start = scanner.position
    word = scanner.accept("[a-z]+")
    found = next((each for each in SPREADS if each == word), None)
    known = f"{', '.join(SPREADS[:-1])} or {SPREADS[-1]}"
    return found or scanner.fail(f"'~' should be followed by {known}", start)


def _read_count(scanner: Scanner, room: int) -> int:
    digits = scanner.accept("[0-9]+")
    significant = digits.lstrip("0")
    if digits and not significant:
        scanner.fail("a count of 0; the least is 1", scanner.start)
    # The length first: int() refuses thousands of digits.
    count = 1 if not digits else int(significant[: len(str(MAX_REQUESTS)) + 1])
    if count > room:
        scanner.fail(f"over {MAX_REQUESTS} requests in one batch", scanner.start)
    return count


def _fail_without_form(scanner: Scanner) -> NoReturn:
    if scanner.start == scanner.end:
        scanner.fail("a segment is empty" if scanner.text else "there is no segment")
    if scanner.position == scanner.start:
        scanner.fail("a count or 'q' should stand here")
    scanner.fail("'q' should follow the count")
