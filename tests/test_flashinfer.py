"""FlashInfer's backends without FlashInfer: what they refuse, and how requests become arrays."""

from dataclasses import replace

import pytest
import torch

from attnbench.kernels.flashinfer_attn.requests import PagedRequests
from attnbench.kernels.inputs import LARGE, UNUSED_ENTRY, page_tables, raw, seeded, spoil
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape
from tests.conftest import small_case

CPU = Machine(kind="cpu", device="cpu", name="Xeon", cpu_count=2)
A100 = Machine(kind="cuda", device="cuda:0", name="NVIDIA A100", capability=(8, 0))
H200 = Machine(kind="cuda", device="cuda:0", name="NVIDIA H200", capability=(9, 0))
B200 = Machine(kind="cuda", device="cuda:0", name="NVIDIA B200", capability=(10, 0))
NAMES = ["flashinfer-fa2", "flashinfer-fa3", "flashinfer-cudnn", "flashinfer-trtllm"]


def case(backend: str, **fields: object) -> Case:
    """A case that every one of these backends has kernels for."""
    asked = small_case("attn", backend, "4q1kv100_2q50", "bf16", **fields)
    return replace(asked, shape=AttnShape(8, 2, 128))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if flashinfer and cudnn could be imported: refusals never do."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)


@pytest.mark.parametrize("backend", NAMES)
def test_a_cpu_is_refused(backend: str) -> None:
    refusal = find("attn", backend).refusal(case(backend), CPU)
    assert refusal == "needs an NVIDIA GPU; this device is Xeon, 2 cores"


@pytest.mark.parametrize(
    ("backend", "machine", "refusal"),
    [
        ("flashinfer-fa2", A100, None),
        ("flashinfer-fa2", H200, None),
        ("flashinfer-fa3", A100, "needs SM90; this is SM80 (NVIDIA A100)"),
        ("flashinfer-fa3", H200, None),
        ("flashinfer-fa3", B200, "needs SM90; this is SM100 (NVIDIA B200)"),
        ("flashinfer-cudnn", H200, None),
        ("flashinfer-trtllm", H200, "needs SM100; this is SM90 (NVIDIA H200)"),
        ("flashinfer-trtllm", B200, None),
    ],
)
@pytest.mark.usefixtures("installed")
def test_each_needs_its_gpu(backend: str, machine: Machine, refusal: str | None) -> None:
    assert find("attn", backend).refusal(case(backend), machine) == refusal


def test_the_gpu_is_named_before_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    trtllm = find("attn", "flashinfer-trtllm")
    assert "needs SM100" in str(trtllm.refusal(case(trtllm.name), H200))
    assert "not installed" in str(trtllm.refusal(case(trtllm.name), B200))


def test_cudnn_needs_its_frontend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "cudnn" else name)
    refusal = find("attn", "flashinfer-cudnn").refusal(case("flashinfer-cudnn"), H200)
    assert refusal == "needs the package nvidia-cudnn-frontend, which is not installed"


@pytest.mark.parametrize(
    ("backend", "asked", "refusal"),
    [
        ("flashinfer-fa2", {"window": 32, "softcap": 30.0}, None),
        ("flashinfer-fa2", {"sinks": True}, "does not take --sinks"),
        ("flashinfer-fa2", {"kv_cache_dtype": "fp8_e5m2", "layout": "HND"}, None),
        ("flashinfer-fa2", {"dtype": "fp32"}, "computes in bf16 and fp16, not in fp32"),
        (
            "flashinfer-fa2",
            {"shape": AttnShape(8, 2, 80)},
            "has no kernel for head dim 80 (it has 64, 128, 256)",
        ),
        (
            "flashinfer-fa2",
            {"shape": AttnShape(8, 2, 64), "kv_cache_dtype": "fp8"},
            "reads an fp8 cache wrongly at head dim 64, according to its source",
        ),
        ("flashinfer-fa3", {"kv_cache_dtype": "fp8"}, "does not take --kv-cache-dtype fp8"),
        ("flashinfer-cudnn", {"window": 32}, "does not take --window"),
        (
            "flashinfer-cudnn",
            {"batch": parse_batch_spec("3q1m"), "shape": AttnShape(8, 2, 128)},
            "counts the elements of q in 32 bits, and this batch has 3221225472",
        ),
    ],
)
@pytest.mark.usefixtures("installed")
def test_what_a_kernel_lacks_is_refused(
    backend: str, asked: dict[str, object], refusal: str | None
) -> None:
    refused = find("attn", backend).refusal(replace(case(backend), **asked), H200)  # type: ignore[arg-type]
    assert refused == refusal or (refusal is not None and str(refused).startswith(refusal))


def test_requests_become_index_arrays() -> None:
    batch = parse_batch_spec("2q1kv33_q16_q5kv20")
    requests = PagedRequests.of(batch, 2, 4, block_size=16)
    assert (requests.tokens, requests.max_q_len, requests.max_kv_len) == (slice(2, 23), 16, 20)
    assert requests.qo_indptr.tolist() == [0, 16, 21]
    assert requests.kv_indptr.tolist() == [0, 1, 3]
    assert requests.last_page_len.tolist() == [16, 4]


def test_each_set_has_the_pages_of_its_requests_in_token_order() -> None:
    batch = parse_batch_spec("2q1kv33_q16_q5kv20")
    tables = page_tables(batch, 16, 3, seeded("cpu", 0))
    requests = PagedRequests.of(batch, 1, 4, block_size=16)
    for index in range(3):
        rows = [row[row != UNUSED_ENTRY] for row in tables.tables[index, 1:]]
        assert torch.equal(requests.page_indices(tables, index), torch.cat(rows))


def test_a_block_table_names_only_pages_of_the_request_itself() -> None:
    batch = parse_batch_spec("2q1kv33_q16_q5kv20")
    tables = page_tables(batch, 16, 2, seeded("cpu", 0))
    table = PagedRequests.of(batch, 2, 4, block_size=16).block_table(tables, 1)
    own = tables.tables[1, 2:]
    assert table.tolist() == [[own[0, 0], own[0, 0]], [own[1, 0], own[1, 1]]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("nan_tails", [True, False])
def test_what_nobody_owns_is_spoilt_in_every_dtype(dtype: torch.dtype, nan_tails: bool) -> None:
    batch = parse_batch_spec("q5kv20")
    tables = page_tables(batch, 16, 2, seeded("cpu", 0))
    pool = torch.ones(tables.num_pages, 16, 4).to(dtype)
    spoil(pool, tables, batch, nan_tails=nan_tails)
    values = pool.float()
    last = tables.tables[:, 0, 1].long()
    assert values[tables.strangers].isnan().all()
    assert (values[last, :4] == 1).all()
    largest = min(LARGE, torch.finfo(dtype).max)
    tail = values[last, 4:]
    assert tail.isnan().all() if nan_tails else tail.allclose(torch.tensor(largest), rtol=0.1)
    assert raw(pool).is_floating_point() == (dtype is torch.bfloat16)
