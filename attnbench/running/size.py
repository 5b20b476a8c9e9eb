"""What cannot fit is refused before it is tried: trying would cost a worker."""

from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case
from attnbench.specs.cost import cost
from attnbench.units import bytes_column

_SHARE = 0.9  # of the device's memory; the rest belongs to the context and the libraries


def size_refusal(case: Case, machine: Machine) -> str | None:
    """A sentence if one working set's inputs and outputs alone outgrow the device, else None."""
    if machine.memory_bytes is None:
        return None
    least = cost(case, find(case.family, case.backend).num_decode(case)).bytes
    if least <= _SHARE * machine.memory_bytes:
        return None
    unit, (needed, there) = bytes_column([least, machine.memory_bytes])
    return f"needs {needed} {unit} for one set of inputs and outputs; {machine.name} has {there}"
