"""Prefills, quantised or not: the family's backends, its formats, its cases and its command."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnbench.families import cost
from attnbench.kernels import nvfp4
from attnbench.kernels.base import Setting
from attnbench.kernels.check import WrongResult, check
from attnbench.kernels.inputs import seeded
from attnbench.kernels.outputs import empty_output
from attnbench.kernels.paged import PagedPrepared
from attnbench.kernels.registry import backends, find
from attnbench.provenance.machine import Machine
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.lengths import prompt_batches
from attnbench.specs.quant import QUANTS, quant_of
from attnbench.specs.shape import AttnShape
from tests.conftest import small_case
from tests.untimed import untimed

CPU = Machine(kind="cpu", device="cpu", name="Xeon", cpu_count=2)
H200 = Machine(kind="cuda", device="cuda:0", name="NVIDIA H200", capability=(9, 0))
B200 = Machine(kind="cuda", device="cuda:0", name="NVIDIA B200", capability=(10, 0))
SM120 = Machine(kind="cuda", device="cuda:0", name="NVIDIA RTX PRO 6000", capability=(12, 0))
SPECS = ["q33", "2q5kv21_2q16_3q1kv17", "q16kv48_q4kv4"]


def prefill_case(backend: str = "torch", spec: str = "q33_q70", **fields: Any) -> Case:
    case = small_case("prefill-trtllm", backend, spec, "bf16")
    return replace(case, shape=AttnShape(4, 2, 32), **fields)


def quantised(quant: str, backend: str = "torch", **fields: Any) -> Case:
    asked: dict[str, Any] = {**QUANTS[quant], **fields}
    return prefill_case(backend, **asked)


def prepared(case: Case, sets: int = 2) -> PagedPrepared:
    ready = find(case.family, case.backend).prepare(case, Setting("cpu", sets, seed=0))
    assert isinstance(ready, PagedPrepared)
    return ready


@pytest.mark.parametrize("quant", QUANTS)
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("layout", ["NHD", "HND"])
def test_torch_agrees_with_the_reference(quant: str, spec: str, layout: str) -> None:
    untimed(prepared(quantised(quant, spec=spec, layout=layout)))


@pytest.mark.parametrize("quant", QUANTS)
def test_an_output_in_any_dtype_that_is_wrong_is_noticed(quant: str) -> None:
    ready = prepared(quantised(quant))
    ready.calls[0]()
    right = ready.output(0).float()
    for wrong in (right.roll(1, dims=0), right * 1.5, right * float("nan")):
        ready.calls = [lambda w=wrong: ready.written[0].store(w.view(-1, 4, 32))]  # type: ignore[misc]
        with pytest.raises(WrongResult):
            check(ready, seed=1)


@pytest.mark.parametrize("dtype", ["bf16", "fp32", "fp8", "nvfp4"])
def test_an_output_that_nothing_wrote_is_nan(dtype: str) -> None:
    output = empty_output(dtype, (5, 4, 32), "cpu")
    assert output.rows().shape == (20, 32)
    assert output.rows().isnan().all()
    output.store(torch.randn(5, 4, 32))
    assert not output.rows().isnan().any()
    output.poison()
    assert output.rows().isnan().all()


@given(rows=st.integers(1, 300), blocks=st.integers(1, 9), seed=st.integers(0, 99))
def test_nvfp4_comes_back_within_half_a_step(rows: int, blocks: int, seed: int) -> None:
    values = torch.randn(rows, 16 * blocks, generator=seeded("cpu", seed))
    packed, scales = nvfp4.quantise(values)
    back = nvfp4.dequantise(packed, scales)
    largest = values.view(rows, blocks, 16).abs().amax(-1, keepdim=True).expand(-1, -1, 16)
    # Half of e2m1's widest step, and what e4m3 does to the scale of the block.
    assert ((back - values).abs() <= (1 / 6 + 1 / 16) * largest.reshape(rows, -1)).all()
    assert scales.shape == nvfp4.scales_shape(rows, 16 * blocks)


def test_scales_of_nvfp4_lie_in_tiles_of_128_rows_by_4() -> None:
    """cuBLAS: of row m and scale k of a tile, 16 * (m % 32) + 4 * (m // 32) + k."""
    rows = torch.arange(256).repeat_interleave(16 * 8).view(256, -1).float() + 1
    _, scales = nvfp4.quantise(rows)
    flat = scales.view(torch.uint8).flatten()
    plain = {
        m: float(flat.view(torch.float8_e4m3fn)[_offset(m, 0)].float()) for m in (0, 1, 33, 200)
    }
    for m, scale in plain.items():
        assert scale == pytest.approx(min((m + 1) / 6 * nvfp4.GLOBAL, 448), rel=0.07)
    assert flat[_offset(33, 0)] == flat[_offset(33, 5)]


def _offset(row: int, scale: int) -> int:
    tile = (row // 128) * 2 + scale // 4  # two tiles side by side
    within = row % 128
    return tile * 512 + 16 * (within % 32) + 4 * (within // 32) + scale % 4


def test_quantising_changes_the_workload_and_the_useful_bytes() -> None:
    cases = [quantised(quant) for quant in QUANTS]
    assert len({case.workload_key for case in cases}) == len(QUANTS)
    assert [quant_of(case) for case in cases] == list(QUANTS)
    assert [Case.from_canonical(case.canonical()) for case in cases] == cases
    terms = [cost(case, 0).byte_terms for case in cases]
    halves = [(t["q"] / terms[0]["q"], t["kv"] / terms[0]["kv"]) for t in terms]
    assert halves == [(1, 1), (0.5, 0.5), (0.5, 0.5), (0.5, 0.5)]
    assert [t["output"] / terms[0]["output"] for t in terms] == [1, 1, 0.5, 0.28125]


@pytest.mark.parametrize(
    ("backend", "quant", "machine", "refusal"),
    [
        ("fa2", "bf16", CPU, "needs an NVIDIA GPU; this device is Xeon, 2 cores"),
        ("fa2", "bf16", H200, None),
        ("fa2", "fp8-qkv", H200, "does not take --quant fp8-qkv (it takes bf16)"),
        ("fa3", "fp8-qkv", H200, None),
        ("fa3", "fp8", H200, "does not take --quant fp8 (it takes bf16, fp8-qkv)"),
        ("fa3", "bf16", B200, "needs SM90; this is SM100 (NVIDIA B200)"),
        ("cudnn", "bf16", H200, None),
        ("trtllm-gen", "fp8-fp4out", B200, None),
        ("trtllm-gen", "bf16", H200, "needs SM100; this is SM90 (NVIDIA H200)"),
        ("trtllm-fmha-v2", "bf16", H200, None),
        ("trtllm-fmha-v2", "bf16", SM120, None),
        ("trtllm-fmha-v2", "bf16", B200, "needs SM90 or SM12x; this is SM100 (NVIDIA B200)"),
        (
            "trtllm-fmha-v2",
            "fp8",
            H200,
            "does not take --quant fp8: FlashInfer warns that its fp8 kernels hang on SM90",
        ),
        ("torch", "fp8-fp4out", CPU, None),
    ],
)
def test_each_refuses_in_a_sentence(
    backend: str,
    quant: str,
    machine: Machine,
    refusal: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    case = replace(quantised(quant, backend), shape=AttnShape(8, 2, 128))
    assert find("prefill-trtllm", backend).refusal(case, machine) == refusal


def test_every_backend_prefills_all_requests() -> None:
    for backend in backends("prefill-trtllm"):
        assert backend.num_decode(prefill_case(backend.name, "3q1kv17_q40")) == 0


def test_random_lengths_are_of_the_seed_and_reach_the_longest() -> None:
    one, same, other = (prompt_batches([8], [1024], "random", seed) for seed in (0, 0, 1))
    assert one == same != other
    (batch,) = one
    lengths = [request.q_len for request in batch]
    assert len(lengths) == 8
    assert max(lengths) == 1024
    assert all(request.kv_len == request.q_len >= 1 for request in batch)
    assert parse_batch_spec(str(batch)) == batch


def test_a_batch_is_the_same_whatever_stands_beside_it() -> None:
    alone = prompt_batches([4], [256], "random", 0)
    among = prompt_batches([1, 4], [128, 256], "random", 0)
    assert alone[0] in among


def test_fixed_lengths_are_all_the_longest() -> None:
    assert list(map(str, prompt_batches([1, 4], [1024], "fixed", 0))) == ["q1k", "4q1k"]
