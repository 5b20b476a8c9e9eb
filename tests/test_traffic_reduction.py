"""Few batches for many steps: weights, losses, padding."""

from pathlib import Path

import numpy as np
import pytest

from attnbench.specs.batch import Batch, parse_batch_spec
from attnbench.traffic.graphs import decode_graphs, padded_to
from attnbench.traffic.limits import ServerLimits
from attnbench.traffic.read import Trace, read_trace
from attnbench.traffic.reduction import reduce_steps
from attnbench.traffic.schedule import Schedule
from attnbench.traffic.server import Server
from attnbench.traffic.simulate import simulate

DATA = Path(__file__).parent / "data" / "traces"
SERVER = Server("llama3-8b", 1, "h200")


def schedule(*specs: str) -> Schedule:
    batches = [parse_batch_spec(spec) for spec in specs]
    return Schedule.of_batches([[(r.q_len, r.kv_len) for r in batch] for batch in batches])


def test_steps_that_are_alike_lose_nothing() -> None:
    found = reduce_steps(schedule(*["8q1kv1k"] * 9, *["64q1kv4k"] * 3), SERVER, 24)
    assert [(str(each.batch), each.weight) for each in found.batches] == [
        ("8q1kv1k", 9),
        ("64q1kv4k", 3),
    ]
    assert (found.loss, found.margin) == pytest.approx((0, 0))


def test_each_kind_of_step_keeps_a_batch() -> None:
    steps = schedule(*["8q1kv1k"] * 900, "8q1kv1k_q100", "q7", "q8kv20")
    found = reduce_steps(steps, SERVER, 1)
    kinds = [(each.kind, each.weight) for each in found.batches]
    assert kinds == [("decode", 900), ("mixed", 1), ("prefill", 2)]


def test_the_loss_is_that_of_the_weighted_time() -> None:
    steps = schedule("q1kv1k", "q1kv2k", "q1kv9k")
    seconds = SERVER.attention_seconds(steps.work(decode=True), steps.work(decode=False))
    found = reduce_steps(steps, SERVER, 1)
    assert [str(each.batch) for each in found.batches] == ["q1kv2k"]
    assert found.loss == pytest.approx(3 * seconds[1] / seconds.sum() - 1)
    assert found.margin == pytest.approx(1.96 * 3 * seconds.std() / seconds.sum())


def test_what_the_roofline_does_not_show_is_counted_beside_the_loss() -> None:
    """Sixty-four requests of 1k read as much as one of 64k, which here stands for them too."""
    steps = schedule("64q1kv1k", "q1kv64k", "q1kv64k")
    found = reduce_steps(steps, SERVER, 1)
    assert [(str(each.batch), each.weight) for each in found.batches] == [("q1kv64k", 3)]
    assert abs(found.loss) < 0.02
    longest, requests = 3 * 64 / (64 + 64 + 1) - 1, 3 / (64 + 1 + 1) - 1
    assert found.beside == pytest.approx(max(abs(longest), abs(requests)))


@pytest.mark.parametrize("name", [path.name for path in sorted(DATA.glob("*_?00.*"))])
def test_24_batches_of_a_published_trace_lose_under_2_percent(name: str) -> None:
    trace = read_trace(DATA / name)
    assert isinstance(trace, Trace)
    limits = ServerLimits(1024, 8192, SERVER.kv_tokens())
    steps = simulate(trace.requests, limits, SERVER).schedule
    few, many = (reduce_steps(steps, SERVER, most) for most in (24, 240))
    assert len(few.batches) == 24
    assert max(abs(few.loss), few.beside) < 0.02
    assert many.margin < few.margin
    assert sum(each.weight for each in few.batches) == steps.num_steps
    assert sum(each.share for each in few.batches) == pytest.approx(1)


def test_weighted_batches_have_the_requests_tokens_and_longest_sequences_of_all_steps() -> None:
    draw = np.random.default_rng(3)
    specs = [
        f"{draw.integers(1, 40)}q1kv{draw.integers(1, 9000)}_q{draw.integers(2, 4000)}"
        for _ in range(800)
    ]
    found = reduce_steps(schedule(*specs), SERVER, 24)

    def sums(batches: list[Batch], weights: list[int]) -> list[float]:
        counted = [(len(b), b.num_tokens, b.max_kv_len) for b in batches]
        return [float(np.dot(weights, column)) for column in zip(*counted, strict=True)]

    few = sums([each.batch for each in found.batches], [each.weight for each in found.batches])
    assert few == pytest.approx(sums(list(map(parse_batch_spec, specs)), [1] * 800), rel=0.01)


def test_many_long_decodes_do_not_hide_the_longest_sequences_of_mixed_steps() -> None:
    """A kernel may split the keys of decodes and yet read a sequence on one SM beside a prefill."""
    draw = np.random.default_rng(7)
    mixed = [f"q1kv{draw.integers(1, 90_000)}_q{draw.integers(2, 4000)}" for _ in range(300)]
    decodes = [f"{draw.integers(1, 40)}q1kv{draw.integers(1, 90_000)}" for _ in range(9000)]
    found = reduce_steps(schedule(*mixed, *decodes), SERVER, 24)
    weighted = sum(b.weight * b.batch.max_kv_len for b in found.batches if b.kind == "mixed")
    whole = sum(parse_batch_spec(spec).max_kv_len for spec in mixed)
    assert weighted == pytest.approx(whole, rel=0.01)


def test_batches_have_prefills_in_the_order_of_vllm() -> None:
    out_of_order = ["q1kv2k_q500_q800kv4k"] * 9
    found = reduce_steps(schedule(*out_of_order, "q1kv9k_q90kv1k_q800"), SERVER, 1)
    assert [(str(each.batch), each.weight) for each in found.batches] == [
        ("q1kv9k_q90kv1k_q800", 10)
    ]


def test_a_batch_lies_in_the_ranges_of_its_stratum() -> None:
    rng = np.random.default_rng(1)
    specs = [f"{rng.integers(1, 9)}q1kv{rng.integers(1, 5000)}_q50" for _ in range(200)]
    for each in reduce_steps(schedule(*specs), SERVER, 10).batches:
        batch = each.batch
        decodes, context = len(batch) - 1, batch.num_kv_tokens - batch.num_tokens
        assert each.decodes[0] <= decodes <= each.decodes[1]
        assert each.context[0] <= context <= each.context[1]
        assert each.new == (50, 50)


@pytest.mark.parametrize(
    ("spec", "padded"),
    [
        ("3q1kv1k", 4),
        ("8q1kv1k", 8),
        ("9q1kv1k", 16),
        ("257q1kv1k", 272),
        ("513q1kv1k", None),
        ("q2kv9", None),
    ],
)
def test_decodes_are_padded_to_captured_sizes(spec: str, padded: int | None) -> None:
    sizes = decode_graphs(ServerLimits(1024, 8192, 16384))
    assert padded_to(parse_batch_spec(spec), sizes) == padded


@pytest.mark.parametrize(
    ("limits", "graphs"),
    [
        (ServerLimits(4, 8192, 16384), [1, 2, 4]),
        (ServerLimits(5, 8192, 16384), [1, 2, 4]),  # five decodes run outside a graph
        (ServerLimits(20, 20, 16384), [1, 2, 4, 8, 16, 20]),  # one for all tokens of a step
        (ServerLimits(20, 80, 16384, spec_tokens=3, acceptance=0.5), []),
    ],
)
def test_no_graph_of_decodes_has_more_requests_than_run(
    limits: ServerLimits, graphs: list[int]
) -> None:
    """As in vLLM's CudagraphDispatcher and in the CudaGraphManager of its second model runner."""
    assert decode_graphs(limits) == graphs
