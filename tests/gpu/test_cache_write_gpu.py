"""The write kernels of vLLM and FlashInfer, held to what the CPU's are: right, and nothing else."""

from collections.abc import Iterator
from itertools import product

import pytest

from attnbench import run_benchmark
from attnbench.kernels.base import Prepared, Setting
from attnbench.kernels.cache_write_base.keys_values import KeyValueWrite
from attnbench.kernels.check import WrongResult
from attnbench.kernels.registry import find
from attnbench.provenance.machine import read_machine
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case, Layout
from attnbench.specs.shape import AttnShape, MlaShape, Shape
from tests.untimed import untimed

pytestmark = pytest.mark.gpu

DEVICE = "cuda:0"
BACKENDS = ("torch", "cuda", "triton", "flashinfer")
LLAMA = AttnShape(8, 8, 128)
LATENTS = MlaShape().for_cache_write()


def cases() -> Iterator[Case]:
    """Layouts, formats, head sizes, block sizes and dtypes of every backend."""
    for backend in BACKENDS:
        formats = product(("NHD", "HND"), ("auto", "fp8", "fp8_e4m3", "fp8_e5m2"))
        for layout, kv in formats:
            yield write(backend, 300, LLAMA, layout=layout, kv_cache_dtype=kv)
        for size, layout in product((64, 80, 96, 112, 120, 192, 256), ("NHD", "HND")):
            yield write(backend, 33, AttnShape(3, 3, size), layout=layout)
        for dtype, block in product(("fp16", "fp32"), (32, 256)):
            yield write(backend, 1, LLAMA, dtype, block_size=block)
        for kv, tokens in product(("auto", "fp8", "fp8_e5m2", "fp8_ds_mla"), (1, 300)):
            yield write(backend, tokens, LATENTS, kv_cache_dtype=kv)
        yield write(backend, 300, LLAMA, page_order="contiguous")


def write(backend: str, tokens: int, shape: Shape, dtype: str = "bf16", **fields: object) -> Case:
    batch = parse_batch_spec(f"q{tokens}")
    return Case("cache-write", backend, batch, shape, dtype, **fields)  # type: ignore[arg-type]


def prepared(case: Case, sets: int = 3) -> Prepared:
    """Ready to launch; skipped with the backend's own sentence where it refuses."""
    backend = find(case.family, case.backend)
    if reason := backend.refusal(case, read_machine(DEVICE)):
        pytest.skip(reason)
    return backend.prepare(case, Setting(DEVICE, sets, seed=0))


def named(case: Case) -> str:
    return "-".join(str(value) for value in case.canonical().values())


@pytest.mark.parametrize("case", list(cases()), ids=named)
def test_what_is_written_is_read_back_and_nothing_else_is_touched(case: Case) -> None:
    untimed(prepared(case))


@pytest.mark.parametrize("backend", ["cuda", "triton"])
@pytest.mark.parametrize("layout", ["NHD", "HND"])
def test_a_mapping_that_sends_padding_somewhere_is_found(backend: str, layout: str) -> None:
    ready = prepared(write(backend, 33, LLAMA, layout=layout))
    assert isinstance(ready, KeyValueWrite)
    taken = set(ready.slots.mapping.flatten().tolist())
    stray = next(slot for slot in range(1000) if slot not in taken)
    ready.slots.mapping[0, -1] = stray
    with pytest.raises(WrongResult, match=f"slot {stray} was written though no token was sent"):
        untimed(ready)


@pytest.mark.parametrize("implementation", ["cuda", "triton"])
@pytest.mark.parametrize("layout", ["NHD", "HND"])
def test_a_token_takes_a_few_microseconds_in_a_graph(implementation: str, layout: Layout) -> None:
    seconds = run_benchmark(
        num_tokens=1,
        num_heads=8,
        head_size=128,
        block_size=16,
        num_blocks=None,
        dtype="bfloat16",
        kv_cache_dtype="auto",
        kv_cache_layout=layout,
        num_iters=20,
        implementation=implementation,
        benchmark_mode="cudagraph",
        device=DEVICE,
    )
    assert 1e-6 < seconds < 6e-6
