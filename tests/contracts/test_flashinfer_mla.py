"""FlashInfer's paged MLA held against the installed release: everything but its kernels."""

import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from attnbench.kernels.base import Setting
from attnbench.kernels.flashinfer_mla.paged import PagedMlaPrepared
from attnbench.kernels.inputs import UNUSED_ENTRY
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case, Scope
from attnbench.specs.shape import MlaShape

SETS = 3


class Kernels:
    """In place of a compiled module: keeps the integer tensors that each launch is given."""

    def __init__(self) -> None:
        self.launches: list[list[torch.Tensor]] = []

    def plan(self, *_: object) -> Sequence[int]:
        return [0] * 18

    def run(self, *arguments: object) -> None:
        self.launches.append(
            [a for a in arguments if isinstance(a, torch.Tensor) and a.dtype == torch.int32]
        )


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Kernels:
    """The kernels that every release of FlashInfer would compile, for a GPU that is not there."""
    found = Kernels()
    modules = [each for each in _modules() if hasattr(each, "get_batch_mla_module")]
    assert modules
    for module in modules:
        monkeypatch.setattr(module, "get_batch_mla_module", lambda *_, **__: found)
    return found


def _modules() -> list[Any]:
    return [module for name, module in sys.modules.items() if name.startswith("flashinfer.mla")]


@pytest.mark.parametrize("kernel", ["fa2", "fa3"])
@pytest.mark.parametrize("scope", ["kernel", "layer"])
def test_every_set_reads_its_own_pages(kernel: str, scope: Scope, kernels: Kernels) -> None:
    batch, shape = parse_batch_spec("3q1kv100_q4kv70"), MlaShape(16)
    case = Case("mla", f"flashinfer-mla-{kernel}", batch, shape, "bf16", scope=scope)
    with torch.inference_mode():
        ready = PagedMlaPrepared(case, Setting("cpu", SETS, seed=0), kernel)
        for call in ready.calls:
            call()
    expected = [table[table != UNUSED_ENTRY].tolist() for table in ready.tables.tables]
    assert [[each.tolist() for each in given] for given in kernels.launches] == [
        [pages] for pages in expected
    ]
