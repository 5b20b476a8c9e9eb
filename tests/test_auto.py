"""`auto`: what vLLM takes by itself, measured once, and what it loses against the best."""

from pathlib import Path

import pytest

from attnbench.kernels.registry import find
from tests.conftest import SMALL, Attnbench, small_case
from tests.stored_results import CPU, H200

STANDS_FOR_NAIVE = '''
"""A backend that stands for another, as auto does where vLLM is."""
from dataclasses import replace
from attnbench.kernels.attn.naive import Naive

class Chosen(Naive):
    name = "chosen"

    def stands_for(self, case):
        return replace(case, backend="naive")
'''


@pytest.mark.parametrize("family", ["attn", "mla"])
def test_auto_needs_a_gpu_and_vllm(family: str) -> None:
    case, auto = small_case(family, "auto"), find(family, "auto")
    assert auto.refusal(case, CPU) == f"needs an NVIDIA GPU; this device is {CPU.label}"
    assert str(auto.refusal(case, H200)).startswith("needs vllm, which is not installed: pip")
    assert auto.stands_for(case) is None  # nobody was asked


def test_a_backend_that_stands_for_another_is_measured_as_that_one(
    tmp_path: Path, attnbench: Attnbench
) -> None:
    (tmp_path / "attn").mkdir()
    (tmp_path / "attn" / "chosen.py").write_text(STANDS_FOR_NAIVE)
    words = ["attn", *SMALL, "--batch-specs", "q8", "--rounds", "1", "--backend", "chosen"]
    both = attnbench(*words, "naive", ATTNBENCH_KERNELS=str(tmp_path))
    assert both.returncode == 0
    assert "refused: chosen q8: is naive here, which this run measures" in both.stdout
    alone = attnbench(*words, ATTNBENCH_KERNELS=str(tmp_path))
    assert "is naive here" not in alone.stdout
