"""A decoder layer's products between calls: which they are, their memory, and the clock."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from attnbench.errors import AttnbenchError
from attnbench.kernels.base import Prepared
from attnbench.labels import Label
from attnbench.records import Status
from attnbench.running.command import Command
from attnbench.running.execute import execute
from attnbench.running.forecast import forecast
from attnbench.running.memory import memory_of, memory_refusal, working_sets
from attnbench.running.messages import Job
from attnbench.running.plan import Plan
from attnbench.running.timers import Timing
from attnbench.specs.case import Case, Value
from attnbench.specs.layer import layer_bytes, layer_products
from attnbench.specs.shape import AttnShape, MlaShape, Shape
from attnbench.timing.cuda import GraphClock
from attnbench.timing.guard import unseen
from attnbench.timing.layer import LayerClock, products_of
from attnbench.timing.marks import CAPACITY, Marks
from attnbench.timing.method import Method
from tests.conftest import small_case
from tests.fake_worker import FakeDevice
from tests.held import held_bytes
from tests.stored_results import CPU, H200, attn

US = 1e-6
PLAIN = Method("cudagraph")


class Replays:
    """A graph of products and ten calls."""

    calls_per_sample = 10

    def __init__(self, *labels: Label) -> None:
        self.labels, self.replays = labels, 0

    def sample(self) -> float:
        self.replay()
        return 140 * US

    def replay(self) -> None:
        self.replays += 1

    def launch_again(self, sets: int) -> None:
        self.replay()


class KnownMarks:
    """Marks that see a known mean and spread around the calls of a graph."""

    def __init__(self, mean: float, sd: float = 0.0) -> None:
        self._mean, self._sd, self._random = mean, sd, Random(2)

    def seconds(self, calls: int) -> float:
        return self._random.gauss(self._mean, self._sd)


def clock_of(graph: Replays, marks: KnownMarks, overhead: float = 0.0) -> LayerClock:
    return LayerClock(cast(GraphClock, graph), cast(Marks, marks), overhead, nodes_before=6)


def test_a_sample_is_the_time_between_marks_less_that_of_marks_alone() -> None:
    clock = clock_of(Replays(), KnownMarks(41.3 * US), overhead=1.3 * US)
    assert clock.sample() == pytest.approx(40 * US)


def test_a_launch_that_shows_before_the_products_is_no_caveat_of_a_call() -> None:
    clock = clock_of(Replays(Label.LAUNCH_BOUND), KnownMarks(US))
    assert Timing(clock).labels == ()


def marked(*times: int, launched: int) -> Marks:
    """Marks of which so many were launched, and whose places hold these times, ns."""
    import torch

    marks = Marks.__new__(Marks)
    marks._times, marks._launched = torch.zeros(CAPACITY, dtype=torch.int64), launched
    for back, time in enumerate(reversed(times), 1):
        marks._times[(launched - back) % CAPACITY] = time
    return marks


def test_without_triton_a_layer_is_an_error_that_names_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(AttnbenchError, match="Triton, which is not installed"):
        Marks("cuda:0")


@pytest.mark.parametrize("launched", [6, 100, CAPACITY, CAPACITY + 1, 3 * CAPACITY + 4])
def test_the_marks_of_the_last_calls_count(launched: int) -> None:
    marks = marked(0, 9000, 100_000, 110_000, 200_000, 212_000, launched=launched)
    assert marks.seconds(2) == pytest.approx(11 * US)


@pytest.mark.parametrize("step", [1, 32, 1000, 1024])
@pytest.mark.parametrize(("call", "calls"), [(10_300, 8), (16_200, 130), (253_300, 1)])
def test_the_steps_of_the_timer_are_in_no_time(call: int, calls: int, step: int) -> None:
    random, samples = Random(3), list[float]()
    for _ in range(200):
        now, times = random.uniform(0, 1e6), list[int]()
        for _ in range(calls):
            begun = now + random.gauss(115_000, 50)  # behind the products
            now = begun + call
            times += [step * int(at // step) for at in (begun, now)]
        samples.append(marked(*times, launched=2 * calls).seconds(calls))
    assert median(samples) == pytest.approx(call * 1e-9, rel=0.01)


class CallingGraph(Replays):
    """Makes the calls, too."""

    def __init__(self, prepared: Prepared) -> None:
        super().__init__()
        self._calls, self.calls_per_sample = prepared.calls, len(prepared.calls)

    def replay(self) -> None:
        for call in self._calls:
            call()

    def kernels_after(self, nodes: int) -> tuple[str, ...]:
        return ("attnbench_mark", f"kernel behind {nodes} nodes")


@pytest.mark.parametrize(
    ("call", "status"),
    [(40, Status.OK), (0.1, Status.ERROR), (0, Status.ERROR), (-5, Status.ERROR)],
)
def test_a_call_that_takes_nothing_behind_a_layer_has_no_time(
    call: float, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timing(_method: Method, prepared: Prepared, *_: object) -> Timing:
        return Timing(clock_of(CallingGraph(prepared), KnownMarks(call * US, US)))

    monkeypatch.setattr("attnbench.running.execute.Timing.of", timing)
    job = Job(small_case("attn", "sdpa"), replace(PLAIN, samples=60), 0, 1, False, False)
    outcome = execute(job, CPU, unseen, lambda _: None)
    assert outcome.status is status
    assert outcome.kernels == (("kernel behind 6 nodes",) if status is Status.OK else ())
    assert ("too little to be told from nothing" in outcome.reason) is (status is Status.ERROR)


def test_a_row_keeps_what_was_taken_off_for_the_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    def timing(_method: Method, prepared: Prepared, *_: object) -> Timing:
        return Timing(clock_of(CallingGraph(prepared), KnownMarks(40 * US), overhead=1.2 * US))

    monkeypatch.setattr("attnbench.running.execute.Timing.of", timing)
    job = Job(small_case("attn", "sdpa"), replace(PLAIN, samples=3), 0, 1, False, False)
    outcome = execute(job, CPU, unseen, lambda _: None)
    whole = [each + outcome.guard["marks_seconds"] for each in outcome.samples]
    assert whole == pytest.approx(3 * [40 * US])


@pytest.mark.parametrize(
    ("resolved", "state"), [({}, "cold"), ({"between": "nothing", "timer": "eager"}, "mixed")]
)
def test_a_layer_makes_one_set_cold_where_it_ran(
    resolved: dict[str, Value], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timing(_method: Method, prepared: Prepared, *_: object) -> Timing:
        return Timing(clock_of(CallingGraph(prepared), KnownMarks(40 * US)), resolved=resolved)

    monkeypatch.setattr("attnbench.running.execute.Timing.of", timing)
    method = replace(PLAIN, between="layer", samples=3)
    job = Job(small_case("attn", "sdpa"), method, 0, 1, False, False)
    machine = replace(CPU, l2_bytes=2**25)
    assert execute(job, machine, unseen, lambda _: None).cache_state == state


@pytest.mark.parametrize(
    ("shape", "weights"),
    [
        (AttnShape(32, 8, 128), 218_103_808),  # Llama-3-8B's layer without norms
        (AttnShape(8, 1, 128), 4096 * (8 + 2 + 8) * 128 + 3 * 4096 * 14336),
        (MlaShape(128), 4096 * 2112 + 1536 * 24576 + 16384 * 4096 + 3 * 4096 * 14336),
    ],
)
def test_the_products_have_the_weights_of_a_layer(shape: Shape, weights: int) -> None:
    assert sum(inputs * outputs for inputs, outputs in layer_products(shape)) == weights


@pytest.fixture
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer of few columns."""
    for name, width in {"HIDDEN": 64, "MLP": 96, "Q_LORA": 32}.items():
        monkeypatch.setattr(f"attnbench.specs.layer.{name}", width)


@pytest.mark.usefixtures("_narrow")
@pytest.mark.parametrize(
    "case",
    [
        small_case("attn"),
        small_case("mla"),
        small_case("mla", spec="5q1kv20"),
        small_case("cache-write"),
    ],
    ids=lambda case: f"{case.family} {case.batch}",
)
def test_the_products_hold_what_was_foreseen_and_allocate_nothing(case: Case) -> None:
    products = products_of(case, "cpu")
    assert held_bytes(products) == layer_bytes(case)
    products()
    assert held_bytes(products) == layer_bytes(case)


class Called(TorchDispatchMode):  # type: ignore[misc]  # its types are not checked
    """Notes the operators that run under it, with the sizes of their results."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = list[tuple[str, tuple[int, ...]]]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.sizes.append((func.overloadpacket.__name__, tuple(out.shape)))
        return out


@pytest.mark.usefixtures("_narrow")
@pytest.mark.parametrize(
    ("case", "last"),
    [
        (small_case("mla", spec="5q1kv20"), ("bmm", (2, 5, 32))),
        (small_case("mla", spec="5q1kv20", scope="layer"), ("mm", (5, 48))),  # within the call
        (
            small_case("mla", spec="q8_5q1kv20"),
            ("mm", (13, 48)),
        ),  # a server has it for none or some
        (small_case("attn", spec="5q1kv20"), ("mm", (5, 128))),
    ],
    ids=lambda value: f"{value.family} {value.batch}" if isinstance(value, Case) else value[0],
)
def test_w_uk_comes_last_before_a_decode_of_mla_that_does_not_hold_it(
    case: Case, last: tuple[str, tuple[int, ...]]
) -> None:
    products = products_of(case, "cpu")
    with Called() as called:
        products()
    assert [(name, size) for name, size in called.sizes if name in ("mm", "bmm")][-1] == last
    without = products_of(case, "cpu", w_uk=False)
    with Called() as called:
        without()
    assert "bmm" not in {name for name, _ in called.sizes}


def test_a_layer_counts_as_memory_that_sets_cannot_have() -> None:
    case = attn("64q1kv128k", "flash", "bf16")
    sets = [sum(memory_of(case, n, H200, "layer").values()) for n in (0, 1, 2)]
    plain = [sum(memory_of(case, n, H200).values()) for n in (0, 1, 2)]
    assert [with_it - without for with_it, without in zip(sets, plain, strict=True)] == (
        [layer_bytes(case)] * 3
    )


def test_a_layer_takes_the_place_of_working_sets_where_memory_is_short() -> None:
    case = attn("8q1kv1k", "naive", "bf16")
    gpu = replace(H200, l2_bytes=60 * 2**20)
    shared, one = (sum(memory_of(case, sets, gpu, "layer").values()) for sets in (0, 1))
    free = int(shared + 2.5 * (one - shared))
    assert working_sets(case, gpu, free=free, between="layer") == 2
    assert working_sets(case, gpu, free=free) > 2


def test_a_layer_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attnbench.running.memory.free_memory", lambda machine: 100_000_000)
    case = small_case("attn", "naive")
    assert memory_refusal(case, CPU) is None
    assert "layer between" in str(memory_refusal(case, CPU, 1, "layer"))


def test_a_forecast_counts_the_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeDevice(machine=H200)
    own = SimpleNamespace(device="cuda", start=lambda device: nullcontext(gpu.start(device)))
    monkeypatch.setattr("attnbench.running.forecast.local_devices", lambda _: [own])
    command = Command("attn", (), {}, ["cuda"], str(tmp_path / "new.db"))
    case = attn("8q1kv1k", "flash", "bf16")
    without, with_it = (
        forecast(command, lambda _, m=methods: Plan((case,), m)).cases[0].memory  # type: ignore[misc]
        for methods in ((PLAIN,), (PLAIN, replace(PLAIN, between="layer")))
    )
    assert with_it - without == layer_bytes(case)


def test_new_inputs_are_tried_in_the_graph_of_the_calls() -> None:
    graph = Replays()
    clock_of(graph, KnownMarks(US)).launch_again(sets=3)
    assert graph.replays == 1


class UncapturedClock:
    """In place of the graphs of a kernel that no graph can capture."""

    @staticmethod
    def of(*_: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")


def test_a_kernel_that_no_graph_captures_says_that_it_had_no_layer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, stand_in in {
        "LayerClock": UncapturedClock,
        "EagerClock": lambda *_: Replays(),
        "sm_clock": lambda _: None,
    }.items():
        monkeypatch.setattr(f"attnbench.running.timers.{name}", stand_in)
    ready = cast(Prepared, SimpleNamespace(calls=[]))
    method = replace(PLAIN, between="layer", eager_fallback=True)
    found = Timing.of(method, ready, H200, between=lambda: None)
    assert (found.resolved["timer"], found.resolved["between"]) == ("eager", "nothing")
