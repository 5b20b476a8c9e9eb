"""The values of a case along the axes that studies sweep."""

from attnbench.specs.batch import format_size
from attnbench.specs.case import Case, Value, value_text

# Of a batch; the largest value if requests differ.
BATCH_AXES = ("batch_size", "q_len", "kv_len", "context")


def axis_value(case: Case, name: str) -> Value | None:
    """A number of the batch, a field of the case or its shape, or a knob; None if unset."""
    batch = case.batch
    if name == "batch_size":
        return len(batch)
    if name == "q_len":
        return batch.max_q_len
    if name == "kv_len":
        return batch.max_kv_len
    if name == "context":
        return max(request.context_len for request in batch)
    return case.fields().get(name)


def axis_text(case: Case, name: str) -> str:
    """The value as conclusions show it; auto if left to the backend."""
    value = axis_value(case, name)
    if name in BATCH_AXES and isinstance(value, int):
        return format_size(value)
    return value_text(value, "auto")
