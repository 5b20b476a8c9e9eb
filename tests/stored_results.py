"""Small results for tests: a real database in a folder, filled with outcomes that are made up."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import update

from attnbench.db.models import RunRow
from attnbench.db.store import Store
from attnbench.families import cost
from attnbench.provenance.environment import Component, Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source
from attnbench.records import CacheState, Measurement, Outcome, RunStatus, Status
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case, Dtype, Layout, Value
from attnbench.specs.shape import AttnShape, MlaShape
from attnbench.timing.finished import Finished
from attnbench.timing.method import Method
from tests.conftest import small_case

CPU = Machine(
    kind="cpu", device="cpu", name="Intel(R) Xeon(R) Processor", cpu_count=2, hostname="box"
)
H200 = Machine(
    kind="cuda",
    device="cuda:0",
    name="NVIDIA H200",
    gpu_uuid="GPU-1",
    capability=(9, 0),
    sm_count=132,
    memory_bytes=140 * 2**30,
    memory_bus_bits=6144,
    max_sm_clock_hz=1_980_000_000,
    max_memory_clock_hz=3_201_000_000,
    hostname="box",
)
H100 = replace(H200, name="NVIDIA H100 80GB HBM3", gpu_uuid="GPU-2")
ENVIRONMENT = Environment("3.11.2", components={"torch": Component("2.11.0")})
SOURCE = Source("working directory", "repo", "trunk", "a" * 40, None, "message", "/repo")
ON_CPU, ON_GPU = Method("cpu"), Method("cudagraph")
CASE = small_case()
OK = Outcome(Status.OK, samples=(1e-5, 3e-5, 2e-5), durations={"check": 0.5, "time": 1.5})
REFUSED = Outcome(Status.REFUSED, "needs SM100; this is SM90 (NVIDIA H200)")

PLAN: Mapping[str, Any] = {"rounds": 3}
NO_OPTIONS: Mapping[str, Any] = {}

Results = Mapping[Case, Sequence[Outcome]]


def attn(spec: str, backend: str = "sdpa", dtype: Dtype = "fp32", **knobs: Value) -> Case:
    return Case(
        "attn", backend, parse_batch_spec(spec), AttnShape(), dtype, knobs=tuple(knobs.items())
    )


def mla(spec: str, backend: str = "torch-absorbed", **knobs: Value) -> Case:
    batch, shape = parse_batch_spec(spec), MlaShape(16)
    return Case("mla", backend, batch, shape, "fp32", scope="layer", knobs=tuple(knobs.items()))


def cache_write(tokens: int, layout: Layout) -> Case:
    batch = parse_batch_spec(f"q{tokens}")
    return Case("cache-write", "torch", batch, AttnShape(), "bf16", layout=layout)


def timed(
    case: Case,
    *medians: float,
    cache_state: CacheState = "cold",
    labels: tuple[str, ...] = (),
    resolved: Mapping[str, Value] | None = None,
    peak_memory: int | None = None,
) -> list[Outcome]:
    """A round for each median, whose samples lie 0.1 % around it."""
    decodes = sum(request.is_decode for request in case.batch)
    work = cost(case, decodes)
    return [
        Outcome(
            Status.OK,
            samples=tuple(median * (1 + 0.001 * (at % 3 - 1)) for at in range(21)),
            cache_state=cache_state,
            flops=work.flops,
            bytes=work.bytes,
            decode_requests=decodes,
            prefill_requests=len(case.batch) - decodes,
            labels=labels,
            resolved=resolved or {},
            peak_memory=peak_memory,
        )
        for median in medians
    ]


def failed(status: Status, reason: str) -> list[Outcome]:
    return [Outcome(status, reason)]


def start(
    store: Store,
    *,
    command: str = "attn",
    words: Sequence[str] = (),
    label: str | None = None,
    options: Mapping[str, Any] = NO_OPTIONS,
    plan: Mapping[str, Any] = PLAN,
    machine: Machine = H200,
    environment: Environment = ENVIRONMENT,
    source: Source = SOURCE,
) -> int:
    """Start a run."""
    return store.start_run(
        command=command,
        argv=["attnbench", command, *words],
        label=label,
        options=dict(options),
        plan=dict(plan),
        machine=machine,
        environment=environment,
        source=source,
    )


def fill(store: Store, run: int, outcomes: Sequence[Outcome] = (OK,)) -> list[int]:
    """Add the outcomes as the rounds of one case; their ids."""
    return [store.add(run, CASE, ON_GPU, i, i, outcome) for i, outcome in enumerate(outcomes)]


def backdate(store: Store, run: int, to_before: int) -> None:
    """Let a run have started a day before another."""
    started = store.run(to_before).started - timedelta(days=1)
    with store.writing() as session:
        session.execute(update(RunRow).where(RunRow.number == run).values(started=started))


def places(measurements: Sequence[Measurement]) -> list[tuple[int, int]]:
    """Run and round of each."""
    return [(each.run, each.round) for each in measurements]


def store_run(
    store: Store,
    results: Results,
    *,
    label: str | None = None,
    machine: Machine = CPU,
    method: Method = ON_CPU,
    environment: Environment = ENVIRONMENT,
    source: Source = SOURCE,
    status: RunStatus = RunStatus.FINISHED,
    interleaved: str | None = None,
) -> int:
    """A run with these results, the rounds of all cases interleaved.

    Runs with the same `interleaved` took turns with each other.
    """
    run = start(
        store,
        command=next((case.family for case in results), "attn"),
        label=label,
        plan={"interleaved": interleaved},
        machine=machine,
        environment=environment,
        source=source,
    )
    rounds = max((len(outcomes) for outcomes in results.values()), default=0)
    order = [(at, case) for at in range(rounds) for case in results if at < len(results[case])]
    store.add_all(
        run,
        [
            Finished(case, method, at, position, results[case][at])
            for position, (at, case) in enumerate(order)
        ],
    )
    store.finish_run(run, status)
    return run


def measured(
    folder: Path, results: Results, machine: Machine = CPU, method: Method = ON_CPU
) -> list[Measurement]:
    """The results as they come back from a database."""
    with Store.open(folder / "measured.db") as store:
        return store.measurements([store_run(store, results, machine=machine, method=method)])
