"""vLLM's standard backends on a GPU, against the fp32 reference."""

from importlib.util import find_spec

import pytest
import torch

from attnbench.kernels.base import Prepared, Refused, Setting
from attnbench.kernels.check import check, check_again
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine, read_machine
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(find_spec("vllm") is None, reason="needs vLLM"),
    pytest.mark.filterwarnings("default"),  # vLLM and what it imports have many
]

DEVICE = "cuda:0"
LLAMA, GPT_OSS = AttnShape(8, 2, 128), AttnShape(16, 2, 64)
MIXED = "2q5kv21_3q1kv100_2q16_q40kv333_1q200"
# A whole page, less than one, many pages; one request and more than the kernels' tiles hold.
SPECS = ["q1", "q257", "3q1kv40", "70q1kv129", "4q3kv515", MIXED]


def attn(backend: str, spec: str = MIXED, shape: AttnShape = LLAMA, **fields: object) -> Case:
    name = find("attn", backend).name
    dtype = fields.pop("dtype", "bf16")
    return Case("attn", name, parse_batch_spec(spec), shape, dtype, **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def machine() -> Machine:
    return read_machine(DEVICE)


def prepared(
    case: Case, machine: Machine, *, graphs: bool = True, optional: bool = False
) -> Prepared:
    """Three sets; a Hopper may refuse only what is optional in an installation of vLLM."""
    backend = find("attn", case.backend)
    try:
        if reason := backend.refusal(case, machine):
            raise Refused(reason)
        return backend.prepare(case, Setting(DEVICE, 3, seed=0, graphs=graphs))
    except Refused as refused:
        if machine.capability == (9, 0) and not optional:
            raise
        pytest.skip(str(refused))


def hold(case: Case, machine: Machine, *, graphs: bool = True, optional: bool = False) -> Prepared:
    """Right before timing, and right again of every set when replayed from one CUDA graph."""
    with torch.inference_mode():
        ready = prepared(case, machine, graphs=graphs, optional=optional)
        check(ready, seed=1)
        if graphs:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                for call in ready.calls:
                    call()
        for index in range(len(ready.calls)):
            ready.poison(index)
        if graphs:
            graph.replay()
        else:
            for call in ready.calls:
                call()
        torch.cuda.synchronize()
        check_again(ready, len(ready.calls), seed=2)
    return ready


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("backend", ["flash", "triton", "flashinfer"])
def test_every_kind_of_batch_is_right(backend: str, spec: str, machine: Machine) -> None:
    hold(attn(backend, spec), machine)


@pytest.mark.parametrize("backend", ["flash", "triton", "flashinfer"])
def test_outside_a_graph_too(backend: str, machine: Machine) -> None:
    hold(attn(backend), machine, graphs=False)


# Each compiles a Triton kernel or two, so that the more telling ones are combined.
FEATURES: list[dict[str, object]] = [
    {"dtype": "fp16", "layout": "HND"},
    {"window": 1},
    {"window": 20, "block_size": 64},
    {"softcap": 3.0, "sinks": True},
    {"window": 50, "sinks": True, "shape": GPT_OSS},
    {"kv_cache_dtype": "fp8", "spec": "70q1kv129"},
    {"kv_cache_dtype": "fp8", "window": 20, "scope": "layer"},
    {"scope": "layer", "layout": "HND", "spec": "70q1kv129"},
    {"kv_data": "zeros", "page_order": "contiguous"},
]
FOR_FLASH: list[dict[str, object]] = [
    {"window": 128},
    {"softcap": 3.0},
    {"sinks": True},
    {"kv_cache_dtype": "fp8", "layout": "HND", "block_size": 128},
    {"shape": AttnShape(8, 8, 64)},
    {"shape": AttnShape(8, 1, 128)},
    {"shape": AttnShape(16, 1, 256)},
]


@pytest.mark.parametrize(
    ("backend", "fields"),
    [("flash", each) for each in FEATURES + FOR_FLASH] + [("triton", each) for each in FEATURES],
    ids=str,
)
def test_every_feature_is_right(backend: str, fields: dict[str, object], machine: Machine) -> None:
    hold(attn(backend, **fields), machine)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields", [{"scope": "layer"}, {"block_size": 64, "layout": "HND"}], ids=str
)
def test_flashinfer_writes_and_reads_its_cache_in_either_order(
    fields: dict[str, object], machine: Machine
) -> None:
    hold(attn("flashinfer", **fields), machine)  # type: ignore[arg-type]


@pytest.mark.parametrize("fields", [{}, {"window": 20, "scope": "layer"}], ids=str)
def test_flex_is_right(fields: dict[str, object], machine: Machine) -> None:
    hold(attn("flex", **fields), machine)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["FLASH_ATTN_DIFFKV", "TRITON_ATTN_DIFFKV"])
def test_a_backend_known_by_its_name_alone_is_right(name: str, machine: Machine) -> None:
    hold(attn(name), machine)


@pytest.mark.parametrize("version", [2, 3, 4])
def test_a_named_version_of_flash_attention_is_the_one_that_runs(
    version: int, machine: Machine
) -> None:
    case = attn("flash", knobs=(("flash_version", version),))
    ready = hold(case, machine, optional=version != 3)
    assert ready.resolved["flash_version"] == version


@pytest.mark.parametrize("splits", [1, 4])
def test_a_named_number_of_splits_is_taken(splits: int, machine: Machine) -> None:
    ready = hold(attn("flash", "3q1kv1000", knobs=(("num_splits", splits),)), machine)
    assert ready.resolved["max_num_splits"] == splits


def test_splits_are_refused_where_vllm_leaves_them_to_the_kernel(machine: Machine) -> None:
    case = attn("flash", "3q1kv1000", knobs=(("num_splits", 4),))
    with torch.inference_mode(), pytest.raises(Refused, match="takes --num-splits only where"):
        find("attn", "flash").prepare(case, Setting(DEVICE, 1, seed=0, graphs=False))


def test_a_key_that_was_not_written_is_noticed(machine: Machine) -> None:
    with torch.inference_mode():
        ready = prepared(attn("triton", scope="layer"), machine)
        ready.calls[0]()
        assert ready.damage(0) is None
        ready.poison(0)
        assert ready.damage(0) is not None


def test_planning_again_changes_nothing(machine: Machine) -> None:
    for backend in ("flash", "flashinfer"):
        with torch.inference_mode():
            ready = prepared(attn(backend), machine)
            assert ready.plan is not None
            ready.plan()
            check(ready, seed=3)
