"""The model of continuous batching: cases counted by hand, and laws that every schedule obeys."""

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnbench.errors import UsageError
from attnbench.families import cost
from attnbench.specs.batch import Batch, Request
from attnbench.specs.case import Case
from attnbench.traffic.limits import BLOCK, ServerLimits
from attnbench.traffic.requests import Requests, TracedRequest
from attnbench.traffic.schedule import Schedule, Work
from attnbench.traffic.server import GPUS, Server
from attnbench.traffic.simulate import Served, simulate

SERVER = Server("llama3-8b", 1, "h200")
PLENTY = ServerLimits(max_num_seqs=8, max_num_batched_tokens=1024, kv_tokens=16384)


def served(rows: list[tuple[float, int, int]], limits: ServerLimits) -> Served:
    return simulate(Requests.of(TracedRequest(*row) for row in rows), limits, SERVER)


def batches(found: Served) -> list[str]:
    return [str(found.schedule.batch(step)) for step in range(found.schedule.num_steps)]


@pytest.mark.parametrize(
    ("rows", "limits", "expected"),
    [
        ([(0, 5, 3)], PLENTY, ["q5", "q1kv6", "q1kv7"]),
        ([(0, 5, 1)], PLENTY, ["q5"]),
        ([(0, 40, 2, 35)], PLENTY, ["q8kv40", "q1kv41"]),
        ([(0, 32, 2, 32)], PLENTY, ["q16kv32", "q1kv33"]),
        (
            [(0, 20, 2)],
            replace(PLENTY, max_num_batched_tokens=8),
            ["q8", "q8kv16", "q4kv20", "q1kv21"],
        ),
        (
            [(0, 4, 4), (0, 10, 1)],
            replace(PLENTY, max_num_batched_tokens=8),
            ["2q4", "q1kv5_q6kv10", "q1kv6", "q1kv7"],
        ),
        (
            [(0, 4, 2), (0, 9, 2)],
            replace(PLENTY, max_num_seqs=1),
            ["q4", "q1kv5", "q9", "q1kv10"],
        ),
        ([(0, 4, 2), (100, 9, 2)], PLENTY, ["q4", "q1kv5", "q9", "q1kv10"]),
        (
            [(0, 4, 7)],
            replace(PLENTY, spec_tokens=2, acceptance=1.0),
            ["q4", "q3kv7", "q3kv10"],
        ),
    ],
    ids=[
        "plain",
        "one-token",
        "cached",
        "all-cached",
        "chunks",
        "decodes-first",
        "one-seq",
        "idle",
        "spec",
    ],
)
def test_steps_counted_by_hand(
    rows: list[tuple[float, int, int]], limits: ServerLimits, expected: list[str]
) -> None:
    assert batches(served(rows, limits)) == expected


STORED = json.loads(Path(__file__).with_name("data").joinpath("vllm_scheduler.json").read_text())


@pytest.mark.parametrize("trace", STORED, ids=range(len(STORED)))
def test_the_steps_are_those_of_vllms_scheduler(trace: dict[str, Any]) -> None:
    """As stored by benchmarks/vllm_scheduler.py from vLLM 0.25.1: small caches, some prefixes."""
    limits = ServerLimits(*trace["limits"])
    schedule = served(trace["requests"], limits).schedule
    found = [schedule.batch(step) for step in range(schedule.num_steps)]
    lengths = [[[each.q_len, each.kv_len] for each in batch] for batch in found]
    assert lengths == trace["batches"]


def test_the_last_request_loses_its_blocks_and_is_computed_again() -> None:
    """Three blocks of 16: at 17 tokens each, two requests would need four, and one takes all."""
    found = served([(0, 15, 20), (0, 15, 20)], replace(PLENTY, kv_tokens=48))
    alone = [f"q1kv{kv}" for kv in range(17, 35)]
    again = ["q17", *(f"q1kv{kv}" for kv in range(18, 35))]
    assert batches(found) == ["2q15", "2q1kv16", *alone, *again]
    assert found.preemptions == 1


def test_preempted_requests_come_back_in_their_order() -> None:
    """The last one alone would fit beside the first, but waits for the one before it.

    That one has kept its full block.
    """
    found = served([(0, 15, 4), (0, 15, 3), (0, 14, 3)], replace(PLENTY, kv_tokens=48))
    assert batches(found) == ["q14_2q15", "2q1kv16_q1kv15", "q1kv17", "q1kv18", "q1kv17_q16"]
    assert found.preemptions == 2


def test_a_step_that_preempts_admits_nothing() -> None:
    """Without room for its speculative tokens a request needs one block, which is free at once."""
    limits = replace(PLENTY, kv_tokens=48, spec_tokens=2, acceptance=1e-9)
    found = served([(0, 13, 4), (0, 13, 3)], limits)
    assert batches(found) == ["2q13", "2q3kv16", "q3kv17", "q3kv18_q15"]
    assert found.preemptions == 1


def test_no_more_run_than_a_step_has_tokens_for() -> None:
    """Of eight tokens, two decodes with two speculative ones leave no request a full decode."""
    limits = replace(PLENTY, max_num_batched_tokens=8, spec_tokens=2, acceptance=1.0)
    assert batches(served([(0, 2, 4)] * 3, limits)) == ["2q2", "2q3kv5", "q2", "q3kv5"]


def test_a_prompt_is_admitted_once_all_of_it_fits() -> None:
    found = served([(0, 16, 3), (0, 33, 1)], replace(PLENTY, kv_tokens=48))
    assert batches(found) == ["q16", "q1kv17", "q1kv18", "q33"]


def test_a_hash_id_of_two_lengths_costs_no_blocks() -> None:
    """Of one content there are not two lengths, but a trace may say so."""
    pairs = [(at, *lengths) for at in range(20) for lengths in ((64, 2), (48, 3))]
    requests = Requests.of(TracedRequest(*each, 0, (7,)) for each in pairs)
    found = simulate(requests, replace(PLENTY, kv_tokens=160), SERVER)
    assert batches(found)[:3] == ["q48_q64", "q1kv65_q1kv49", "q1kv50"]
    assert batches(found)[3:] == ["q16kv64_q16kv48", "q1kv65_q1kv49", "q1kv50"] * 19


def test_more_steps_than_memory_holds_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attnbench.traffic.simulate.MOST_STEPS", 20)
    assert served([(0, 5, 20)], PLENTY).schedule.num_steps == 20
    with pytest.raises(UsageError, match="2 requests take over 20 steps, too many for memory"):
        served([(0, 5, 20), (1, 5, 1)], PLENTY)


def test_a_step_begins_when_the_one_before_ends_or_a_request_arrives() -> None:
    found = served([(0, 500, 20), (3, 300, 5)], PLENTY)
    seconds = SERVER.step_seconds(*works(found.schedule))
    assert found.starts[20] == 3
    assert np.diff(found.starts)[:19] == pytest.approx(seconds[:19])
    assert np.diff(found.starts)[20:] == pytest.approx(seconds[20:-1])


def test_a_request_joins_the_first_step_after_its_arrival() -> None:
    second = served([(0, 500, 20)], PLENTY).starts[9] + 1e-9
    found = served([(0, 500, 20), (second, 300, 1)], PLENTY)
    assert batches(found)[9:11] == ["q1kv509", "q1kv510_q300"]


def test_acceptance_shortens_the_output_by_its_expectation() -> None:
    """With K = 2 and A = 1/2, a step brings 1 + 1/2 + 1/4 tokens on average."""
    limits = replace(PLENTY, spec_tokens=2, acceptance=0.5)
    found = served([(0, 4, 7001)], limits)
    assert found.schedule.num_steps == pytest.approx(1 + 7000 / 1.75, rel=0.03)
    assert batches(found) == batches(served([(0, 4, 7001)], limits))


def works(schedule: Schedule) -> list[Work]:
    return [schedule.work(decode=decode) for decode in (True, False)]


REQUESTS = st.lists(
    st.builds(
        TracedRequest,
        st.sampled_from([0.0, 0.001, 0.01, 1.0]),
        st.integers(1, 100),
        st.integers(1, 60),
        st.integers(0, 100),
        st.just(()),
    ),
    min_size=1,
    max_size=12,
)
LIMITS = st.builds(
    ServerLimits,
    max_num_seqs=st.integers(1, 6),
    max_num_batched_tokens=st.integers(24, 200),
    kv_tokens=st.integers(180, 600),
    spec_tokens=st.integers(0, 3),
    acceptance=st.just(0.6),
)


@given(REQUESTS, LIMITS)
def test_every_token_is_computed_once_in_order(
    rows: list[TracedRequest], limits: ServerLimits
) -> None:
    """Except after a preemption: a request starts again behind the blocks that are still cached."""
    limits = replace(limits, spec_tokens=0)
    requests = Requests.of(rows)
    found = simulate(requests, limits, SERVER)
    restarts = 0
    for request, steps in steps_of(found.schedule).items():
        computed = first = int(requests.cached[request])
        for _, q, kv in steps:
            if kv - q != computed:
                assert first <= kv - q < computed
                assert not (kv - q) % BLOCK
                restarts += 1
            computed = kv
        assert computed == requests.prompt[request] + requests.output[request] - 1
    assert restarts <= found.preemptions
    assert len(steps_of(found.schedule)) == len(requests)


@given(REQUESTS, LIMITS)
def test_no_limit_is_passed_and_order_is_kept(
    rows: list[TracedRequest], limits: ServerLimits
) -> None:
    requests = Requests.of(rows)
    found = simulate(requests, limits, SERVER)
    for step in range(found.schedule.num_steps):
        batch = found.schedule.batch(step)
        assert len(batch) <= limits.max_num_seqs
        assert batch.num_tokens <= limits.max_num_batched_tokens
        assert sum(-(-each.kv_len // BLOCK) for each in batch) <= limits.kv_tokens // BLOCK
    begun = [steps[0][0] for _, steps in sorted(steps_of(found.schedule).items())]
    assert begun == sorted(begun)
    assert (found.starts[begun] >= requests.arrival).all()


@given(REQUESTS, LIMITS)
def test_the_work_of_a_step_is_that_of_its_batch(
    rows: list[TracedRequest], limits: ServerLimits
) -> None:
    found = simulate(Requests.of(rows), limits, SERVER)
    decode, prefill = works(found.schedule)
    sums = decode.sums + prefill.sums
    for step in range(found.schedule.num_steps):
        batch = found.schedule.batch(step)
        pairs = sum(r.q_len * r.kv_len - r.q_len * (r.q_len - 1) // 2 for r in batch)
        assert sums[step].tolist() == [pairs, batch.num_tokens, batch.num_kv_tokens]
        assert decode.requests[step] + prefill.requests[step] == len(batch)


def steps_of(schedule: Schedule) -> dict[int, list[tuple[int, int, int]]]:
    """The (step, q, kv) of each request, by step."""
    found: defaultdict[int, list[tuple[int, int, int]]] = defaultdict(list)
    columns = schedule.request, schedule.first, schedule.steps, schedule.q, schedule.kv
    for request, first, steps, q, kv in zip(*(each.tolist() for each in columns), strict=True):
        found[request] += [(first + at, q, kv + at) for at in range(steps)]
    return {request: sorted(steps) for request, steps in found.items()}


LENGTHS = st.integers(1, 5000).flatmap(
    lambda kv: st.tuples(st.integers(1, kv), st.just(kv)).map(lambda each: Request(*each))
)


@given(
    st.sampled_from(["llama3-70b", "deepseek-v3"]),
    st.lists(st.integers(1, 5000), min_size=1, max_size=5),
    st.lists(LENGTHS.filter(lambda request: request.q_len > 1), min_size=1, max_size=5),
)
def test_attention_takes_the_roofline_of_its_cost(
    model: str, decodes: list[int], prefills: list[Request]
) -> None:
    server = Server(model, 8, "h100")
    batch = Batch((*(Request(1, kv) for kv in decodes), *prefills))
    schedule = Schedule.of_batches([[(each.q_len, each.kv_len) for each in batch]])
    case = Case("mla" if model == "deepseek-v3" else "attn", "any", batch, server.shape, "bf16")
    work, gpu = cost(case, len(decodes)), GPUS["h100"]
    floor = max(work.flops / gpu.flops_per_second, work.bytes / gpu.bytes_per_second)
    assert server.attention_seconds(schedule.work(decode=True), schedule.work(decode=False))[
        0
    ] == pytest.approx(floor)
