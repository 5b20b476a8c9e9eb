"""auto on a GPU: the backend that a layer of vLLM gets, with right results."""

from importlib.util import find_spec

import pytest
import torch

from attnbench.kernels.base import Setting
from attnbench.kernels.check import check
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine, read_machine
from attnbench.running.refusals import refusals
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape, MlaShape, Shape

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(find_spec("vllm") is None, reason="needs vLLM"),
    pytest.mark.filterwarnings("default"),  # vLLM and what it imports have many
]

DEVICE = "cuda:0"
SHAPES: dict[str, Shape] = {"attn": AttnShape(8, 2, 128), "mla": MlaShape(16)}


@pytest.fixture(scope="module")
def machine() -> Machine:
    return read_machine(DEVICE)


def auto_case(family: str, spec: str = "5q1kv300") -> Case:
    return Case(family, "auto", parse_batch_spec(spec), SHAPES[family], "bf16")


@pytest.mark.parametrize("spec", ["5q1kv300", "2q100kv300"])
@pytest.mark.parametrize("family", SHAPES)
def test_auto_is_right_and_names_what_ran(family: str, spec: str, machine: Machine) -> None:
    case, auto = auto_case(family, spec), find(family, "auto")
    assert auto.refusal(case, machine) is None
    with torch.inference_mode():
        ready = auto.prepare(case, Setting(DEVICE, 1, seed=0))
        ready.calls[0]()
        check(ready, seed=1)
    twin = auto.stands_for(case)
    assert twin is not None
    assert ready.resolved["selected"] == twin.backend


@pytest.mark.parametrize("family", SHAPES)
def test_auto_is_not_measured_beside_what_it_stands_for(family: str, machine: Machine) -> None:
    case, auto = auto_case(family), find(family, "auto")
    auto.refusal(case, machine)
    twin = auto.stands_for(case)
    assert twin is not None
    (alone,) = refusals([case], machine)
    assert alone is None
    beside, other = refusals([case, twin], machine)
    assert other is None
    assert beside is not None
    assert beside.resolved == {"selected": twin.backend}


def test_auto_on_hopper_is_what_the_contracts_say(machine: Machine) -> None:
    if machine.capability != (9, 0):
        pytest.skip("of Hopper alone")
    for family, expected in (("attn", "flash"), ("mla", "flashattn_mla")):
        case, auto = auto_case(family), find(family, "auto")
        assert auto.refusal(case, machine) is None
        twin = auto.stands_for(case)
        assert twin is not None
        assert twin.backend == expected
