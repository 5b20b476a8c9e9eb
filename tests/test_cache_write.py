"""Cache writes: what is written, what is refused, and every way of being wrong that is found."""

import re
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from attnbench import run_benchmark
from attnbench.compat.cache_write import BenchmarkFailed
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.families import cost
from attnbench.kernels.base import Refused, Setting
from attnbench.kernels.cache_write_base.fp8 import one_step, quantise
from attnbench.kernels.cache_write_base.keys_values import KeyValueWrite
from attnbench.kernels.cache_write_base.pool import Pool
from attnbench.kernels.cache_write_base.prepared import CacheWrite
from attnbench.kernels.cache_write_base.slots import PADDING, draw_slots
from attnbench.kernels.check import WrongResult
from attnbench.kernels.deviation import compare
from attnbench.kernels.inputs import seeded
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case, Layout, Value
from attnbench.specs.models import write_shape
from attnbench.specs.shape import AttnShape, MlaShape, Shape
from tests.conftest import Attnbench
from tests.untimed import untimed

CPU = Machine(kind="cpu", device="cpu", name="Xeon")
H200 = Machine(kind="cuda", device="cuda:0", name="NVIDIA H200", capability=(9, 0))
A100 = Machine(kind="cuda", device="cuda:0", name="NVIDIA A100", capability=(8, 0))

HEADS = AttnShape(2, 2, 16)
LATENTS = MlaShape().for_cache_write()


def write(tokens: int = 33, shape: Shape = HEADS, dtype: str = "bf16", **fields: object) -> Case:
    backend = str(fields.pop("backend", "torch"))
    batch = parse_batch_spec(f"q{tokens}")
    return Case("cache-write", backend, batch, shape, dtype, **fields)  # type: ignore[arg-type]


def prepared(case: Case, sets: int = 3, seed: int = 0) -> CacheWrite:
    ready = find("cache-write", case.backend).prepare(case, Setting("cpu", sets, seed))
    assert isinstance(ready, CacheWrite)
    return ready


WRITES = [
    *(
        write(tokens, HEADS, dtype, layout=layout, kv_cache_dtype=kv)
        for tokens, dtype, layout, kv in product(
            (1, 33),
            ("bf16", "fp16", "fp32"),
            ("NHD", "HND"),
            ("auto", "fp8", "fp8_e4m3", "fp8_e5m2"),
        )
    ),
    *(
        write(33, LATENTS, dtype, kv_cache_dtype=kv)
        for dtype in ("bf16", "fp16")
        for kv in ("auto", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_ds_mla")
    ),
    *(write(33, AttnShape(3, 3, size), "bf16") for size in (1, 80, 112, 120)),
    *(
        write(33, page_order=order, kv_data=data)
        for order, data in (
            ("contiguous", "random"),
            ("scattered", "zeros"),
        )
    ),
    write(33, kv_data="zeros", dtype="fp16", kv_cache_dtype="fp8"),
    write(33, LATENTS, kv_data="zeros", kv_cache_dtype="fp8_ds_mla"),
    write(33, block_size=1),
    write(33, block_size=256),
    write(33, knobs=(("num_blocks", 500),)),
]


def named(case: Case) -> str:
    return "-".join(str(value) for value in case.canonical().values())


@pytest.mark.parametrize("case", WRITES, ids=named)
def test_what_is_written_is_read_back_and_nothing_else_is_touched(case: Case) -> None:
    untimed(prepared(case))


@pytest.mark.parametrize(
    ("backend", "fault"),
    [
        ("straying", r"slot \d+ was written though no token was sent there"),
        ("skipping", "1 of 33 rows hold NaN: left unwritten"),
        ("padding", r"slot \d+ was written though no token was sent there"),
        ("underrunning", "memory in front of the cache was written"),
        ("swapping", "where the reference has"),
        ("late", r"after timing: slot \d+ was written though no token was sent there"),
    ],
)
@pytest.mark.parametrize("layout", ["NHD", "HND"])
@pytest.mark.parametrize("kv_cache_dtype", ["auto", "fp8"])
@pytest.mark.usefixtures("own_kernels")
def test_a_write_that_is_wrong_is_found(
    backend: str, fault: str, layout: str, kv_cache_dtype: str
) -> None:
    case = write(backend=backend, layout=layout, kv_cache_dtype=kv_cache_dtype)
    with pytest.raises(WrongResult, match=fault):
        untimed(prepared(case))


@pytest.mark.parametrize(
    ("kv_cache_dtype", "stored", "reference", "passes"),
    [
        ("fp8", 1.0, 1.0, True),
        ("fp8", 1.125, 1.0, True),  # the next number
        ("fp8", 1.25, 1.0, False),  # the one after
        ("fp8", 2.25, 1.875, False),
        ("fp8", 2.0**-9, 0.0, True),
        ("fp8", 2.0**-8, 0.0, False),
        ("fp8_e5m2", 1.25, 1.0, True),
        ("fp8_e5m2", 1.5, 1.0, False),
    ],
)
def test_fp8_may_be_one_step_off(
    kv_cache_dtype: str, stored: float, reference: float, passes: bool
) -> None:
    allowed = one_step(kv_cache_dtype, columns=1)
    rest = [3.0, 3.0, 3.0]
    found = compare(torch.tensor([[stored, *rest]]), torch.tensor([[reference, *rest]]), allowed)
    assert (found.fault is None) == passes


def test_few_elements_may_be_one_step_off_not_all() -> None:
    exact = torch.randn((8, 256), generator=torch.Generator().manual_seed(0)).abs() + 1.0
    kept = exact.to(torch.float8_e4m3fn)
    above = (kept.view(torch.uint8) + 1).view(torch.float8_e4m3fn).float()
    allowed = one_step("fp8", columns=256)
    few = torch.where(torch.arange(256) % 16 == 0, above, kept.float())
    assert compare(few, kept.float(), allowed).fault is None
    fault = compare(above, kept.float(), allowed).fault
    assert fault is not None
    assert fault.startswith("the relative L2 error of 8 rows together is 0.0")


def test_what_is_not_quantised_must_be_exact() -> None:
    allowed = one_step("fp8", columns=1)
    assert compare(torch.tensor([[1.0, 3.01]]), torch.tensor([[1.0, 3.0]]), allowed).fault


def test_fp8_uses_its_range_and_stays_within_it() -> None:
    ready = prepared(write(kv_cache_dtype="fp8"))
    untimed(ready)
    largest = float(ready.output(0).abs().max())
    assert 50 < largest <= 208  # the largest key of all sets is mapped onto 200


@pytest.mark.parametrize("page_order", ["scattered", "contiguous"])
def test_slots_are_unique_and_leave_the_last_one_free(page_order: str) -> None:
    slots = draw_slots(10, 16, (4, 39), page_order, seeded("cpu", 0))
    mapped = slots.mapping[:, :-PADDING]
    assert len(set(mapped.flatten().tolist())) == 4 * 39
    assert int(mapped.max()) < 159
    assert (slots.mapping[:, -PADDING:] == -1).all()
    assert torch.equal(slots.pages * 16 + slots.offsets, mapped)
    steps = mapped.diff(dim=1)
    assert bool((steps == 1).all()) == (page_order == "contiguous")


def test_a_scan_takes_no_more_memory_than_a_step_and_finds_the_last_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("attnbench.kernels.cache_write_base.pool.STEP_BYTES", 1024)
    pool, nowhere = Pool(50, (2, 16, 24), 1, "cpu"), torch.empty(0, dtype=torch.int64)
    assert pool.stray(nowhere, nowhere) is None
    pool.pages[49, 1, 7, 23] ^= 1
    assert pool.stray(nowhere, nowhere) == (
        f"slot {49 * 16 + 7} was written though no token was sent there"
    )
    assert pool.stray(torch.tensor([49]), torch.tensor([7])) is None


def test_too_few_blocks_are_refused_with_what_is_needed() -> None:
    case = write(33, knobs=(("num_blocks", 6),))
    with pytest.raises(Refused) as refused:
        prepared(case, sets=3)
    assert str(refused.value) == (
        "--num-blocks 6 of 16 tokens are too few for 3 sets of 33 tokens: at least 7 are needed, "
        "or fewer sets by --num-layers"
    )


def test_touched_bytes_count_padding_and_useful_bytes_do_not() -> None:
    case = write(64, AttnShape(8, 8, 128), kv_cache_dtype="fp8")
    useful = 64 * 2 * 8 * 128 * (2 + 1) + 64 * 8
    assert cost(case, 0).bytes == useful
    ready = prepared(case).written_by(lambda index: None)
    assert ready.touched_bytes == useful + PADDING * 8


@pytest.mark.parametrize(
    ("kv_cache_dtype", "row"), [("auto", 1152), ("fp8", 576), ("fp8_ds_mla", 656)]
)
def test_a_latent_write_reads_the_model_dtype_and_writes_a_row(
    kv_cache_dtype: str, row: int
) -> None:
    case = write(10, LATENTS, kv_cache_dtype=kv_cache_dtype)
    assert cost(case, 0).bytes == 10 * (576 * 2 + row + 8)


def test_latents_of_all_models_with_equal_dims_are_one_case() -> None:
    cases = {write(shape=write_shape(None, name, 1, None, None)).key for name in MLA_LIKE}
    assert len(cases) == 1


MLA_LIKE = ("deepseek-v2", "deepseek-v3", "kimi-k2", "glm-5")


@pytest.mark.parametrize(
    ("case", "machine", "sentence"),
    [
        (write(backend="cuda"), CPU, "needs an NVIDIA GPU; this device is Xeon, 1 core"),
        (
            write(backend="cuda", shape=AttnShape(1, 1, 16), layout="HND"),
            H200,
            "needs at least 32 elements per token for HND, not 16",
        ),
        (
            write(backend="triton", kv_cache_dtype="fp8_e5m2"),
            H200,
            "stores e4m3 even if fp8_e5m2 is asked for",
        ),
        (
            write(backend="triton", kv_cache_dtype="fp8"),
            A100,
            "needs SM89 for an fp8 cache; this is NVIDIA A100 (SM80)",
        ),
        (
            write(backend="triton", shape=LATENTS),
            H200,
            "writes only keys and values of heads, no latents",
        ),
        (
            write(backend="flashinfer", shape=AttnShape(8, 8, 80)),
            H200,
            "does not take --head-size 80 (it takes 64, 128, 256, 512)",
        ),
        (
            write(backend="flashinfer", shape=AttnShape(128, 128, 128)),
            H200,
            "needs 2048 threads for 128 heads of 128, and a block has at most 1024: ask for "
            "fewer heads",
        ),
        (
            write(backend="flashinfer", dtype="fp32"),
            H200,
            "does not take --dtype fp32 (it takes bf16, fp16)",
        ),
        (
            write(backend="flashinfer", shape=LATENTS, kv_cache_dtype="fp8_ds_mla"),
            H200,
            "does not take --kv-cache-dtype fp8_ds_mla for latents (it takes auto, fp8, fp8_e4m3, "
            "fp8_e5m2)",
        ),
        (
            write(backend="flashinfer", shape=MlaShape(1, 256, 256, 64, 256)),
            H200,
            "takes 512 latents and 64 RoPE elements, not 256 and 64",
        ),
        (
            write(kv_cache_dtype="fp8_ds_mla"),
            CPU,
            "fp8_ds_mla is a format of latents and needs --kind mla",
        ),
        (
            write(shape=LATENTS, dtype="fp32", kv_cache_dtype="fp8_ds_mla"),
            CPU,
            "fp8_ds_mla takes 512 latents and 64 RoPE elements of bf16 or fp16, not "
            "512 and 64 of fp32",
        ),
        (
            write(shape=LATENTS, layout="HND"),
            CPU,
            "latents have no heads, so --layout does not apply",
        ),
    ],
)
def test_what_cannot_run_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, case: Case, machine: Machine, sentence: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert find("cache-write", case.backend).refusal(case, machine) == sentence


@pytest.mark.parametrize(
    ("kind", "model", "heads", "message"),
    [
        (
            "kv",
            "deepseek-v3",
            None,
            "--model deepseek-v3 is of --kind mla; accepted with --kind kv",
        ),
        ("mla", "llama3-8b", None, "--model llama3-8b is of --kind kv; accepted"),
        ("mla", None, 8, "--num-heads and --head-size do not apply to latents"),
    ],
)
def test_a_model_of_another_kind_is_an_error(
    kind: str, model: str | None, heads: int | None, message: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        write_shape(kind, model, 1, heads, None)


RUN = ["cache-write", "--implementation", "torch", "--device", "cpu", "--iters", "3"]
SMALL = ["--num-heads", "2", "--head-size", "16"]


def stored(folder: Path) -> list[dict[str, Value]]:
    """The cases of run 1."""
    with Store.open(folder / "attnbench.db", create=False) as store:
        return [each.case.canonical() for each in store.measurements([1])]


def test_the_command_ends_in_tables_and_conclusions(attnbench: Attnbench) -> None:
    done = attnbench(*RUN, *SMALL, "--num-tokens", "1..64:x4", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    fit = r"time = fixed \+ tokens x slope|no linear fit"  # the latter beside other programs
    assert re.search(fit, done.stdout)
    assert re.search(r"torch: HND .*NHD.*95 % interval .* 4 cases", done.stdout.replace("\n ", ""))
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_every_option_reaches_the_case(attnbench: Attnbench, tmp_path: Path) -> None:
    done = attnbench(
        *[*RUN, *SMALL, "--num-tokens", "5", "--rounds", "1", "--layout", "HND"],
        *["--dtype", "half", "--kv-cache-dtype", "fp8_e5m2", "--block-size", "32"],
        *["--num-blocks", "900", "--slots", "contiguous", "--mode", "no_graph"],
    )
    assert done.returncode == 0, done.stderr
    (case,) = stored(tmp_path)
    expected: dict[str, Value] = {"dtype": "fp16", "kv_cache_dtype": "fp8_e5m2", "layout": "HND"}
    expected |= {"block_size": 32, "num_blocks": 900, "page_order": "contiguous"}
    assert expected.items() <= case.items()
    assert "--mode eager does not apply to a CPU" in done.stderr


def test_latents_of_a_model_within_an_inter_token_latency(
    attnbench: Attnbench, tmp_path: Path
) -> None:
    done = attnbench(
        *[*RUN, "--model", "deepseek-v2-lite", "--num-tokens", "4", "--rounds", "1"],
        *["--dtype", "bf16", "--kv-cache-dtype", "auto", "fp8_ds_mla", "--itl", "10ms"],
    )
    assert done.returncode == 0, done.stderr
    assert "27 layers (deepseek-v2-lite), one call each" in done.stdout
    assert [case.get("layout") for case in stored(tmp_path)] == [None, None]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--itl", "10ms"], "--itl needs the number of layers that write"),
        (["--itl", "10", "--model", "llama3-8b"], "'10' is not a duration"),
        (["--kind", "mla", "--head-size", "64"], "do not apply to latents"),
    ],
)
def test_options_that_mean_nothing_are_errors(
    attnbench: Attnbench, options: list[str], message: str
) -> None:
    done = attnbench("cache-write", *options)
    assert done.returncode == 2
    assert message in done.stderr


def test_run_benchmark_gives_seconds() -> None:
    for layout, dtype in product(get_args(Layout), ("half", torch.bfloat16)):
        seconds = run_benchmark(
            16, 2, 16, 16, None, dtype, "auto", layout, 5, "torch", "no_graph", device="cpu"
        )
        assert 1e-7 < seconds < 1


def test_a_small_cache_is_written_with_the_sets_that_it_holds() -> None:
    seconds = run_benchmark(
        64, 8, 64, 16, 9, "bfloat16", "auto", "NHD", 5, "torch", "no_graph", device="cpu"
    )
    assert 1e-7 < seconds < 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"dtype": "int8"}, UsageError, "dtype 'int8' is unknown; accepted are bfloat16"),
        ({"benchmark_mode": "graph"}, UsageError, "benchmark_mode 'graph' is unknown"),
        ({"implementation": "cuda"}, BenchmarkFailed, "refused: needs an NVIDIA GPU"),
        ({"num_iters": 0}, UsageError, "num_iters=0: expected a whole number from 1"),
        ({"device": "tpu"}, UsageError, "device 'tpu' is unknown"),
        ({"num_blocks": 1}, BenchmarkFailed, "refused: --num-blocks 1 of 16 tokens are too few"),
    ],
)
def test_run_benchmark_says_what_is_wrong(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {
        "num_tokens": 16,
        "num_heads": 2,
        "head_size": 16,
        "block_size": 16,
        "num_blocks": None,
        "dtype": "float",
        "kv_cache_dtype": "auto",
        "kv_cache_layout": "NHD",
        "num_iters": 3,
        "implementation": "torch",
        "benchmark_mode": "cudagraph",
        "device": "cpu",
    }
    with pytest.raises(error, match=re.escape(message)):
        run_benchmark(**(arguments | change))


def in_vllms_signature(
    key: torch.Tensor,
    value: torch.Tensor,
    key_cache: torch.Tensor,
    value_cache: torch.Tensor,
    slot_mapping: torch.Tensor,
    kv_cache_dtype: str,
    k_scale: torch.Tensor,
    v_scale: torch.Tensor,
) -> None:
    """What vLLM's kernels do, so that what they are called with is tried without a GPU."""
    kept = slot_mapping >= 0
    slots, block_size = slot_mapping[kept], key_cache.shape[1]
    both = ((key, key_cache, k_scale), (value, value_cache, v_scale))
    for new, cache, scale in both:
        stored = new[kept]
        if kv_cache_dtype != "auto":
            stored = quantise(stored, scale, torch.float8_e4m3fn).view(torch.uint8)
        cache[slots // block_size, slots % block_size] = stored


@pytest.mark.parametrize("kv_cache_dtype", ["auto", "fp8"])
@pytest.mark.parametrize("layout", ["NHD", "HND"])
def test_a_kernel_of_vllms_signature_writes_every_set(layout: str, kv_cache_dtype: str) -> None:
    case = write(33, HEADS, layout=layout, kv_cache_dtype=kv_cache_dtype)
    untimed(KeyValueWrite(case, Setting("cpu", 3, 0)).written_by_slots(in_vllms_signature))


def test_a_kernel_that_swaps_keys_and_values_is_found() -> None:
    def swapped(key: torch.Tensor, value: torch.Tensor, *others: object) -> None:
        in_vllms_signature(value, key, *others)  # type: ignore[arg-type]

    ready = KeyValueWrite(write(33, HEADS), Setting("cpu", 3, 0)).written_by_slots(swapped)
    with pytest.raises(WrongResult):
        untimed(ready)
