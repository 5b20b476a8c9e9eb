"""Runs to store: what tests of the database share."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import update

from attnbench.db.models import RunRow
from attnbench.db.store import Store
from attnbench.provenance.environment import Component, Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source
from attnbench.records import Measurement, Outcome, Status
from attnbench.timing.method import Method
from tests.conftest import small_case

H200 = Machine("cuda", "cuda:0", "NVIDIA H200", gpu_uuid="GPU-1", capability=(9, 0), sm_count=132)
H100 = replace(H200, name="NVIDIA H100 80GB HBM3", gpu_uuid="GPU-2")
HERE = Environment("3.11.7", cudnn=91002, components={"torch": Component("2.11.0", "70d99e998")})
SOURCE = Source("--source", "vllm", "main", "0123456789" * 4, None, "Speed up", "/src/vllm")
CASE = small_case()
METHOD = Method("cudagraph")
OK = Outcome(Status.OK, samples=(1e-5, 3e-5, 2e-5), durations={"check": 0.5, "time": 1.5})
REFUSED = Outcome(Status.REFUSED, "needs SM100; this is SM90 (NVIDIA H200)")


def start(
    store: Store,
    *,
    command: str = "attn",
    label: str | None = None,
    machine: Machine = H200,
    source: Source = SOURCE,
) -> int:
    """Start a run."""
    return store.start_run(
        command=command,
        argv=["attnbench", command],
        label=label,
        options={"backends": ["naive"]},
        plan={"rounds": 3},
        machine=machine,
        environment=HERE,
        source=source,
    )


def fill(store: Store, run: int, outcomes: Sequence[Outcome] = (OK,)) -> list[int]:
    """Add the outcomes as the rounds of one case; their ids."""
    return [store.add(run, CASE, METHOD, i, i, outcome) for i, outcome in enumerate(outcomes)]


def backdate(store: Store, run: int, to_before: int) -> None:
    """Let a run have started a day before another."""
    started = store.run(to_before).started - timedelta(days=1)
    with store.writing() as session:
        session.execute(update(RunRow).where(RunRow.number == run).values(started=started))


def timed(measurements: Sequence[Measurement]) -> list[tuple[int, int]]:
    """Run and round of each."""
    return [(each.run, each.round) for each in measurements]
