"""The values of a case along the axes that studies sweep."""

from attnbench.specs.batch import format_size
from attnbench.specs.case import Case, Value

# Of a batch: a batch of unlike requests has the largest of each.
BATCH_AXES = ("batch_size", "q_len", "kv_len", "context")


def axis_value(case: Case, name: str) -> Value | None:
    """A number of the batch, a field of the case or its shape, or a knob; None where unset."""
    batch = case.batch
    if name == "batch_size":
        return len(batch)
    if name == "q_len":
        return batch.max_q_len
    if name == "kv_len":
        return batch.max_kv_len
    if name == "context":
        return max(request.context_len for request in batch)
    asked = {"kv_cache_dtype": case.kv_cache_dtype, "scope": case.scope, **case.canonical()}
    return asked.get(name)


def axis_text(case: Case, name: str) -> str:
    """The value as the conclusions name it; what is left to the backend is auto."""
    value = axis_value(case, name)
    if value is None:
        return "auto"
    return format_size(value) if name in BATCH_AXES and isinstance(value, int) else str(value)


def others_than(case: Case, *names: str) -> tuple[tuple[str, Value], ...]:
    """Everything that was asked for, `names` apart: what is equal in cases that may be compared."""
    asked = {"kv_cache_dtype": case.kv_cache_dtype, "scope": case.scope, **case.canonical()}
    return tuple(sorted((name, value) for name, value in asked.items() if name not in names))
