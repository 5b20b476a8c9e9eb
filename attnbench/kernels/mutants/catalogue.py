"""All faults."""

from attnbench.kernels.mutants.keys import KEY_FAULTS
from attnbench.kernels.mutants.memory import MEMORY_FAULTS
from attnbench.kernels.mutants.results import RESULT_FAULTS
from attnbench.kernels.mutants.shortcuts import SHORTCUT_FAULTS
from attnbench.kernels.mutants.values import VALUE_FAULTS
from attnbench.kernels.mutants.writes import WRITE_FAULTS

FAULTS = (
    *KEY_FAULTS,
    *VALUE_FAULTS,
    *SHORTCUT_FAULTS,
    *RESULT_FAULTS,
    *MEMORY_FAULTS,
    *WRITE_FAULTS,
)
