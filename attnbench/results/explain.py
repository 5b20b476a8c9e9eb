"""One case of a diff, selected by its key or by values, and its samples."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from attnbench.analysis.across import field_text
from attnbench.analysis.series import Series
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.results.diff import Diff, Row
from attnbench.shorten import some
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case

KEY_SHOWN = 12  # characters of a case's key
_LEAST_KEY = 6
_LISTED = 8  # cases in a message

SamplesById = Mapping[int, NDArray[np.float64]]  # by measurement id, in seconds


def find_row(diff: Diff, text: str) -> Row:
    """The row selected by `text`.

    `text` is the first digits of a case's key, at least 6, or words that are each the value of a
    field or FIELD=VALUE: "sdpa q512", "backend=flash batch=q2k". Raises UsageError for no or
    several matches.
    """
    rows = [row for row in diff.rows if _is_named(row.pair.head, text)]
    if len(rows) == 1:
        return rows[0]
    describe = diff.describe
    listed = rows or diff.rows
    names = (
        f"{describe(row.pair.head.case)} ({row.pair.head.first.case_key[:KEY_SHOWN]})"
        for row in listed
    )
    what = f"matches {len(rows)} cases" if rows else "matches no case on both sides"
    raise UsageError(
        f"--explain '{text}' {what}; expected the first digits of a case's key, or values that "
        f"only one case has, e.g. --explain 'sdpa q512'; the cases are: "
        f"{some(names, len(listed), _LISTED)}"
    )


def _is_named(series: Series, text: str) -> bool:
    if len(text) >= _LEAST_KEY and series.first.case_key.startswith(text.lower()):
        return True
    terms = text.replace(",", " ").split()
    return bool(terms) and all(_has(series.case, term) for term in terms)


def _has(case: Case, term: str) -> bool:
    """Whether the named field, or any field, has the value; batches in any spelling."""
    name, equals, value = term.rpartition("=")
    if name in ("", "batch") and _is_batch(case, value):
        return True
    if equals:
        return field_text(case.fields().get(name)).lower() == value.lower()
    return value.lower() in (
        field_text(each).lower() for each in case.fields().values() if each is not None
    )


def _is_batch(case: Case, spec: str) -> bool:
    try:
        return parse_batch_spec(spec).in_execution_order() == case.batch
    except UsageError:
        return False


def read_samples(store: Store, row: Row) -> SamplesById:
    """The samples of every timed round on both sides."""
    timed = (*row.pair.base.timed, *row.pair.head.timed)
    return {each.id: store.samples(each.id) for each in timed}
