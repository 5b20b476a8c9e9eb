"""What vLLM's layers start on a GPU."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.gpu

# PyTorch's monitor of NCCL asks the group's store once a second, and the exit waits for its answer.
SERVED = """
import time
from attnbench.kernels.mutants.trial import made_ready
from attnbench.provenance.machine import read_machine
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape

case = Case("attn", "flash", parse_batch_spec("q1kv300"), AttnShape(8, 2, 128), "bf16")
made_ready(case, read_machine("cuda:0"), 1, 0)
time.sleep(3)
print("done", flush=True)
"""


def test_a_process_that_used_a_layer_ends_at_once() -> None:
    command = [sys.executable, "-W", "ignore", "-c", SERVED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "done\n"
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()
