"""The values of a case along the axes that studies sweep."""

from attnbench.analysis.ragged import shape_of
from attnbench.specs.batch import format_size
from attnbench.specs.case import Case, Value, value_text

# Of a batch; the largest value if requests differ, the mean of ragged lengths.
BATCH_AXES = ("batch_size", "q_len", "kv_len", "context")
SPREAD = "spread"  # how the lengths of requests are spread, as an axis


def axis_value(case: Case, name: str) -> Value | None:
    """A number of the batch, a field of the case or its shape, or a knob; None if unset."""
    batch, ragged = case.batch, shape_of(case.batch)
    if name == "batch_size":
        return len(batch)
    if name == "q_len":
        return batch.max_q_len
    if name == "kv_len":
        return ragged[0].mean if ragged else batch.max_kv_len
    if name == "context":
        longest = max(request.context_len for request in batch)
        return ragged[0].mean - batch.max_q_len if ragged else longest
    if name == SPREAD:
        return (ragged[1] or "equal") if ragged else "other"
    return case.fields().get(name)


def axis_text(case: Case, name: str) -> str:
    """The value as conclusions show it; auto if left to the backend."""
    value = axis_value(case, name)
    if name in BATCH_AXES and isinstance(value, int):
        return format_size(value)
    return value_text(value, "auto")
