"""The backends against the reference, and the checks against backends that are wrong."""

import math
import weakref
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch

from attnbench.kernels.arithmetic import attend
from attnbench.kernels.attn.naive import Naive
from attnbench.kernels.base import Prepared, Setting
from attnbench.kernels.check import WrongResult, check, check_again
from attnbench.kernels.deviation import compare
from attnbench.kernels.inputs import UNUSED_ENTRY, page_tables, seeded
from attnbench.kernels.registry import find
from attnbench.kernels.tolerance import BY_DTYPE, EXACT, attention
from attnbench.provenance.machine import Machine
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape, MlaShape, Shape
from tests.conftest import small_case
from tests.untimed import untimed

CPU = Machine(kind="cpu", device="cpu", name="Xeon")
B200 = Machine(kind="cuda", device="cuda:0", name="NVIDIA B200", capability=(10, 0))


class Elsewhere(Naive):
    name: ClassVar = "elsewhere"
    module: ClassVar = "no_such_package"


def prepared(case: Case, sets: int = 2, seed: int = 0, device: str = "cpu") -> Prepared:
    return find(case.family, case.backend).prepare(case, Setting(device, sets, seed))


FEATURES: list[dict[str, object]] = [
    {"window": 1},
    {"window": 7},
    {"window": 1000},
    {"softcap": 0.5},
    {"sinks": True},
    {"window": 16, "softcap": 2.0, "sinks": True},
]
SPECS = ["q33", "3q1kv40", "q1", "2q5kv21_q1kv16_2q16_3q1kv17", "q16kv48_q4kv4"]
CASES = [
    *(small_case("attn", "sdpa", spec, dtype) for spec in SPECS for dtype in BY_DTYPE),
    *(small_case("attn", "naive", spec, dtype) for spec in SPECS for dtype in BY_DTYPE),
    *(small_case("attn", "naive", spec, layout="HND", block_size=8) for spec in SPECS),
    *(
        small_case("attn", "naive", spec, "fp32", **feature)
        for spec in SPECS
        for feature in FEATURES
    ),
    *(
        small_case(family, backend, "2q5kv21_q1kv16", kv_data="zeros")
        for family, backend in (
            ("attn", "naive"),
            ("attn", "sdpa"),
            ("mla", "torch-absorbed"),
            ("cache-write", "torch"),
        )
    ),
    *(
        small_case(family, backend, "2q5kv21_q1kv16", page_order="contiguous")
        for family, backend in (
            ("attn", "naive"),
            ("mla", "torch-absorbed"),
            ("cache-write", "torch"),
        )
    ),
    *(
        small_case("mla", backend, spec, scope=scope, block_size=16)
        for backend in ("torch-absorbed", "torch-mha")
        for spec in SPECS
        for scope in ("kernel", "layer")
    ),
    *(
        small_case("mla", "torch-absorbed", spec, scope="layer", knobs=(("threshold", 5),))
        for spec in SPECS
    ),
]


LARGE_ENOUGH: dict[str, Shape] = {"attn": AttnShape(4, 2, 64), "mla": MlaShape(4, 64, 48, 16, 32)}
# Heads in which data have needles.
CASES += [
    replace(case, shape=LARGE_ENOUGH[case.family])
    for case in CASES
    if case.family in LARGE_ENOUGH and case.kv_data == "random" and case.softcap != 0.5
]


def named(case: Case) -> str:
    return "-".join(str(value) for value in case.canonical().values())


def checked(case: Case, device: str) -> None:
    untimed(prepared(case, sets=3, device=device))


@pytest.mark.parametrize("case", CASES, ids=named)
def test_every_backend_agrees_with_the_reference(case: Case) -> None:
    checked(case, "cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES, ids=named)
def test_every_backend_agrees_with_the_reference_on_the_gpu(case: Case) -> None:
    checked(case, "cuda:0")


@pytest.mark.parametrize("threshold", [1, 2, 5, 100])
def test_a_threshold_sends_each_request_down_its_path(threshold: int) -> None:
    case = small_case(
        "mla",
        "torch-absorbed",
        "2q1kv40_3q5kv21_q33",
        scope="layer",
        knobs=(("threshold", threshold),),
    )
    expected = {1: 2, 2: 2, 5: 5, 100: 6}[threshold]
    assert find("mla", "torch-absorbed").num_decode(case) == expected


def test_the_seed_gives_the_inputs() -> None:
    one, same, other = (prepared(small_case(), seed=seed) for seed in (3, 3, 4))
    outputs = []
    for ready in (one, same, other):
        ready.calls[0]()
        outputs.append(ready.output(0))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_sdpa_lets_go_of_a_result_before_it_makes_the_next_of_that_set() -> None:
    ready: Any = prepared(small_case("attn", "sdpa"), sets=1)
    ready.calls[0]()
    kept = [weakref.ref(result) for result in ready.results[0]]
    held_then = list[bool]()
    run, *others = ready.kernels

    def watched(*views: torch.Tensor) -> torch.Tensor:
        held_then.append(any(each() is not None for each in kept))
        result: torch.Tensor = run(*views)
        return result

    ready.kernels = [watched, *others]
    ready.calls[0]()
    assert held_then == [False]


def test_pages_are_scattered_and_belong_to_one_request_of_one_set() -> None:
    batch = parse_batch_spec("20q1kv100_q50")
    tables = page_tables(batch, 16, 4, seeded("cpu", 0))
    used = tables.tables[tables.tables != UNUSED_ENTRY]
    assert len(used) == len(set(used.tolist())) == 4 * (20 * 7 + 4)
    assert not set(used.tolist()) & set(tables.strangers.tolist())
    steps = used.diff()
    assert (steps == 1).float().mean() < 0.1


def test_contiguous_pages_follow_one_another() -> None:
    batch = parse_batch_spec("20q1kv100_q50")
    tables = page_tables(batch, 16, 2, seeded("cpu", 0), "contiguous")
    used = tables.tables[tables.tables != UNUSED_ENTRY]
    assert used.tolist() == list(range(2 * (20 * 7 + 4)))


@pytest.mark.parametrize(
    ("options", "by_hand"),
    [
        ({"window": 2}, [math.exp(0.2), math.exp(0.1)]),
        ({"softcap": 0.05}, [math.exp(0.05 * math.tanh(x / 0.05)) for x in (0.3, 0.2, 0.1)]),
        ({"sinks": torch.tensor([0.7])}, [math.exp(0.3), math.exp(0.2), math.exp(0.1)]),
    ],
)
def test_the_reference_weighs_as_by_hand(options: dict[str, object], by_hand: list[float]) -> None:
    keys = torch.tensor([[[0.3], [0.2], [0.1], [float("nan")]]])
    values = torch.tensor([[[1.0], [10.0], [100.0], [float("nan")]]])
    found = attend(torch.ones(1, 1), keys, values, torch.tensor([3]), 1.0, **options)  # type: ignore[arg-type]
    total = sum(by_hand) + (math.exp(0.7) if "sinks" in options else 0.0)
    expected = sum(w * v for w, v in zip(reversed(by_hand), (100.0, 10.0, 1.0), strict=False))
    assert found.item() == pytest.approx(expected / total)


def test_a_page_of_nobody_would_be_noticed() -> None:
    case = small_case("attn", "naive", "3q1kv40")
    ready = prepared(case)
    stranger = int(ready.tables.strangers[0])  # type: ignore[attr-defined]
    ready.tables.tables[0, 1, 1] = stranger  # type: ignore[attr-defined]
    with pytest.raises(WrongResult, match=r"4 of 12 rows hold NaN"):
        check(ready, seed=0)


def test_reading_past_the_last_token_would_be_noticed() -> None:
    ready = prepared(small_case("attn", "naive", "3q1kv40"))
    last_page = int(ready.tables.tables[0, 0, 2])  # type: ignore[attr-defined]
    assert ready.pool[last_page, 8:].isnan().all()  # type: ignore[attr-defined]
    assert not ready.pool[last_page, :8].isnan().any()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda out: out.mul_(1.01), r"got .* where the reference has"),
        (lambda out: out[-1].fill_(math.nan), r"4 of 76 rows hold NaN: left unwritten"),
        (lambda out: out.copy_(out.roll(1, 0)), r"got .* where the reference has"),
    ],
    ids=["off by a hundredth", "a token unwritten", "rows shifted"],
)
def test_a_wrong_result_is_found(spoil: object, message: str) -> None:
    ready = prepared(small_case())
    right = ready.calls[0]

    def wrong() -> None:
        right()
        assert callable(spoil)
        spoil(ready.outputs[0])  # type: ignore[attr-defined]

    ready.calls = [wrong]
    with pytest.raises(WrongResult, match=message):
        check(ready, seed=0)


@pytest.mark.parametrize("head", [0, 3])
@pytest.mark.parametrize(
    "token",
    [0, 13, 14, 99, 200, 213, 214, 299],
    ids=[
        f"{token} of the {request} request"
        for request in ("first", "last")
        for token in ("first token", "token before a page", "token that opens a page", "last token")
    ],
)
def test_a_wrong_row_at_the_edge_of_a_request_or_of_a_page_is_always_found(
    token: int, head: int
) -> None:
    """Of 1200 rows 64 are drawn. The first page of new tokens begins 14 after 50 cached ones."""
    ready = prepared(small_case(spec="3q100kv150", block_size=16))
    right = ready.calls[0]

    def wrong() -> None:
        right()
        ready.outputs[0][token, head] *= 2  # type: ignore[attr-defined]

    ready.calls = [wrong]
    with pytest.raises(WrongResult, match=r"got .* where the reference has"):
        check(ready, seed=0)


def test_a_set_that_timing_never_wrote_is_found_afterwards() -> None:
    ready = prepared(small_case(), sets=3)
    for index in range(3):
        ready.poison(index)
    ready.calls[0]()
    ready.calls[2]()
    with pytest.raises(
        WrongResult, match=r"after timing, in working set 1: 76 of 76 rows hold NaN"
    ):
        check_again(ready, launched=3, seed=0)


def test_the_element_furthest_beyond_its_tolerance_is_named_not_the_largest_error() -> None:
    # A tenth is little to the row of tens, a fiftieth much to the row of tenths.
    expected = torch.tensor([[10.0], [0.1]]).repeat(1, 32)
    output = expected.clone()
    output[0, 0] += 0.1
    output[1, 1] += 0.02
    fault = compare(output, expected, BY_DTYPE["bf16"])
    assert fault.fault is not None
    assert "got 0.12 where the reference has 0.1 and 0.0051 is allowed" in fault.fault
    assert "row 1, element 1" in fault.fault


def test_nan_passes_no_tolerance() -> None:
    for allowed in (*BY_DTYPE.values(), EXACT):
        nan = torch.full((2, 4), math.nan)
        assert compare(nan, torch.ones(2, 4), allowed).fault


def test_long_sums_in_fp32_may_err_as_a_random_walk_does() -> None:
    keys = 2**18
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(4, 1, 32, generator=generator)
    key, value = torch.randn(2, 4, keys, 32, generator=generator)
    output = torch.nn.functional.scaled_dot_product_attention(query, key, value)[:, 0]
    weights = torch.softmax(query.double() @ key.double().mT / math.sqrt(32), -1)
    exact = (weights @ value.double())[:, 0].float()
    assert compare(output, exact, BY_DTYPE["fp32"]).fault
    deviation = compare(output, exact, attention("fp32", keys=keys))
    assert deviation.fault is None
    assert deviation.share > 0.2, "no more is allowed than that needs"


def test_one_wrong_row_is_not_averaged_away() -> None:
    reference = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
    output = reference.clone()
    output[17] *= 1.02
    deviation = compare(output, reference, BY_DTYPE["bf16"])
    assert deviation.fault == "a row's relative L2 error is 0.02; 0.0086 is allowed"


@pytest.mark.parametrize(
    ("case", "machine", "sentence"),
    [
        (
            small_case("attn", "sdpa", window=16, softcap=50.0),
            CPU,
            "does not take --softcap, --window",
        ),
        (
            small_case("mla", "torch-mha", index_topk=64, scope="layer"),
            CPU,
            "does not take --index-topk",
        ),
        (
            small_case("attn", "sdpa", page_order="contiguous"),
            CPU,
            "has no pages, so --page-order does not apply",
        ),
        (
            small_case("attn", "sdpa", block_size=16),
            CPU,
            "has no pages, so --block-size does not apply",
        ),
        (
            small_case("attn", "sdpa", knobs=(("sdpa_backend", "cudnn"),)),
            CPU,
            "SDPA's cudnn kernel needs an NVIDIA GPU; a CPU has flash and math",
        ),
        (
            small_case("attn", "naive", knobs=(("sdpa_backend", "math"),)),
            CPU,
            "does not take --sdpa-backend",
        ),
        (
            small_case("attn", "naive", knobs=(("unpadded", True),)),
            CPU,
            "does not take --no-pad",
        ),
        (
            small_case("attn", "naive", kv_cache_dtype="fp8"),
            CPU,
            "does not take --kv-cache-dtype fp8 (it takes auto)",
        ),
        (
            small_case("mla", "torch-absorbed", knobs=(("threshold", 4),)),
            CPU,
            "takes --thresholds only at --scope layer, where the decode and the prefill path do "
            "equal work",
        ),
        (
            small_case("mla", "torch-mha", scope="layer", scope_version=1),
            CPU,
            "is of version 1 of scope layer, which did less; this release measures today's alone",
        ),
        (
            small_case("mla", "flashmla", scope="layer"),
            CPU,
            "needs an NVIDIA GPU; this device is Xeon, 1 core",
        ),
        (
            small_case("mla", "flashmla", scope="layer"),
            B200,
            "needs SM90; this is SM100 (NVIDIA B200)",
        ),
    ],
)
def test_what_cannot_run_is_refused_in_a_sentence(
    case: Case, machine: Machine, sentence: str
) -> None:
    assert find(case.family, case.backend).refusal(case, machine) == sentence


def test_a_missing_package_is_named_with_the_line_that_installs_it() -> None:
    assert Elsewhere().refusal(small_case(), CPU) == (
        "needs no_such_package, which is not installed: pip install 'attnbench[gpu]'"
    )
