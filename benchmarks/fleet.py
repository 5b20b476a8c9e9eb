"""How many outcomes one driver stores a second, and in how much memory: python benchmarks/fleet.py

512 GPUs on 4 hosts that only pretend to measure: each returns an outcome as soon as it gets a case,
or after --seconds. The driver deals out workloads, a workload to one GPU with all its backends and
rounds, and stores with the code that every command stores with. A GPU gets its next case once its
outcome is durable: the driver commits all outcomes that came in during the last commit, then
answers their GPUs. So a crash loses what is being measured and nothing that was answered. Needs no
GPU.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from heapq import heappop, heappush
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tabulate import tabulate

from attnbench.db.store import Store
from attnbench.families import cost
from attnbench.provenance.environment import Component, Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source
from attnbench.records import Outcome, RunStatus, Status
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape
from attnbench.timing.finished import Finished
from attnbench.timing.method import Method

GPUS, HOSTS, WORKLOADS, BACKENDS, ROUNDS = 512, 4, 5031, 7, 29  # 1,021,293 outcomes
GOAL_RATE, GOAL_MEMORY = 2000.0, 500 * 2**20
SAMPLES, TEMPLATES = 60, 61  # a prime: no GPU gets one of them again and again
REPORTS = 10  # lines of progress
H200 = Machine("cuda", "cuda:0", "NVIDIA H200", "GPU-0", (9, 0), hostname="fleet")
ENVIRONMENT = Environment("3.11", components={"torch": Component("2.11.0")})
SOURCE = Source("working directory", "repo", "main", "a" * 40, None, "pretended", "/repo")
METHOD = Method("cudagraph")
STOP = -1


@dataclass(frozen=True)
class Size:
    """A fleet and its work; `seconds` is how long a GPU pretends to measure a case."""

    gpus: int = GPUS
    hosts: int = HOSTS
    workloads: int = WORKLOADS
    backends: int = BACKENDS
    rounds: int = ROUNDS
    seconds: float = 0.0

    @property
    def outcomes(self) -> int:
        return self.workloads * self.backends * self.rounds


@dataclass
class Figures:
    """What the driver took; memory in bytes at each tenth of the work."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0  # of the driver
    hosts_cpu_seconds: float = 0.0
    commits: int = 0
    memory: list[int] = field(default_factory=list)
    waited: float = 0.0  # seconds of all GPUs between an outcome and the next case


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in asdict(Size()).items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    parser.add_argument("--db", help="store here: a file or a URL")
    parser.add_argument("--output", type=Path, help="write all numbers here, as JSON")
    asked = vars(parser.parse_args())
    target, output = asked.pop("db"), asked.pop("output")
    size = Size(**asked)
    with TemporaryDirectory() as folder:
        figures = drive(size, target or str(Path(folder, "fleet.db")))
    row = summary(size, figures)
    print(tabulate(row.items(), tablefmt="plain", disable_numparse=True))
    if output is not None:
        output.write_text(json.dumps({**asdict(size), **asdict(figures), **row}, indent=1) + "\n")
    good = row["outcomes a second"] >= GOAL_RATE and max(figures.memory) < GOAL_MEMORY
    sys.exit(0 if good else 1)


def summary(size: Size, figures: Figures) -> dict[str, float]:
    """The figures that the goals are about."""
    first, last = figures.memory[0], figures.memory[-1]
    return {
        "outcomes": size.outcomes,
        "outcomes a second": round(size.outcomes / figures.seconds, 1),
        "outcomes a CPU second of the driver": round(size.outcomes / figures.cpu_seconds, 1),
        "outcomes a CPU second of the hosts": round(size.outcomes / figures.hosts_cpu_seconds, 1),
        "outcomes a commit": round(size.outcomes / figures.commits, 1),
        "driver's memory after a tenth, MiB": round(first / 2**20, 1),
        "driver's memory at the end, MiB": round(last / 2**20, 1),
        "mean wait of a GPU for its next case, ms": round(1000 * figures.waited / size.outcomes, 1),
        "load average of the machine": round(os.getloadavg()[0], 1),
    }


def drive(size: Size, target: str) -> Figures:
    """Measure and store everything in a new run."""
    context = multiprocessing.get_context("spawn")
    hosts, processes = [], []
    for _ in range(size.hosts):
        ours, theirs = context.Pipe()
        process = context.Process(target=pretend, args=(theirs, size.seconds), daemon=True)
        process.start()
        theirs.close()
        hosts.append(ours)
        processes.append(process)
    try:
        with Store.open(target) as store:
            figures = Driver(size, store, hosts).run()
    finally:
        for process in processes:
            process.terminate()
            process.join()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures.hosts_cpu_seconds = usage.ru_utime + usage.ru_stime
    return figures


class Driver:
    """Deals out cases and stores outcomes; GPU g is on host g modulo the number of hosts."""

    def __init__(self, size: Size, store: Store, hosts: list[Connection]) -> None:
        self._size, self._store, self._hosts = size, store, hosts
        self._workloads = workloads(size)
        self._left: dict[int, Iterator[tuple[Case, int]]] = {}  # of each GPU's workload
        self._dealt: dict[int, tuple[Case, int, int]] = {}  # case, round and position by GPU
        self._position, self._stored = 0, 0
        self._figures = Figures()

    def run(self) -> Figures:
        """Everything, from the first case to the last commit."""
        run = self._store.start_run(
            command="attn",
            argv=["benchmarks/fleet.py"],
            label="fleet",
            options={},
            plan={"rounds": self._size.rounds},
            machine=H200,
            environment=ENVIRONMENT,
            source=SOURCE,
        )
        start, cpu = time.monotonic(), time.process_time()
        for gpu in range(self._size.gpus):
            self._deal(gpu)
        while self._dealt:
            self._store_all(run, list(self._received()))
        self._store.finish_run(run, RunStatus.FINISHED)
        self._figures.seconds = time.monotonic() - start
        self._figures.cpu_seconds = time.process_time() - cpu
        for host in self._hosts:
            host.send(STOP)
            self._figures.waited += host.recv()
        return self._figures

    def _received(self) -> Iterator[tuple[int, Outcome]]:
        """At least one outcome, and all others that have come in."""
        ready: deque[object] = deque(wait(self._hosts))
        while ready:
            host = ready.popleft()
            assert isinstance(host, Connection)
            yield host.recv()
            if host.poll():
                ready.append(host)

    def _store_all(self, run: int, received: list[tuple[int, Outcome]]) -> None:
        finished = []
        for gpu, outcome in received:
            case, round_, position = self._dealt[gpu]
            finished.append(Finished(case, METHOD, round_, position, outcome))
        self._store.add_all(run, finished)
        self._stored += len(finished)
        self._figures.commits += 1
        self._note_memory()
        for gpu, _ in received:
            self._deal(gpu)

    def _deal(self, gpu: int) -> None:
        """Give a GPU the next case of its workload, else of the next workload, else none."""
        self._dealt.pop(gpu, None)
        job = next(self._left.get(gpu, iter(())), None)
        if job is None and (workload := next(self._workloads, None)) is not None:
            self._left[gpu] = iter(workload)
            job = next(self._left[gpu])
        if job is not None:
            case, round_ = job
            self._dealt[gpu] = (case, round_, self._position)
            self._position += 1
            self._hosts[gpu % len(self._hosts)].send(gpu)

    def _note_memory(self) -> None:
        if self._stored * REPORTS >= self._size.outcomes * (len(self._figures.memory) + 1):
            self._figures.memory.append(resident())


def workloads(size: Size) -> Iterator[list[tuple[Case, int]]]:
    """The cases and rounds of each workload: all backends in a round, in turn forwards and back."""
    for at in range(size.workloads):
        batch = parse_batch_spec(f"{at % 64 + 1}q1kv{64 * (at // 64 + 1)}")
        cases = [
            Case("attn", f"pretended-{n}", batch, AttnShape(), "bf16") for n in range(size.backends)
        ]
        yield [
            (case, round_)
            for round_ in range(size.rounds)
            for case in (cases if round_ % 2 == 0 else reversed(cases))
        ]


def pretend(driver: Connection, seconds: float) -> None:
    """A host: its GPUs return outcomes, and it adds up how long they waited for their next case."""
    made, due, answered = templates(), list[tuple[float, int]](), dict[int, float]()
    waited, count = 0.0, 0
    while True:
        timeout = max(0.0, due[0][0] - time.monotonic()) if due else None
        if driver.poll(timeout):
            gpu = driver.recv()
            now = time.monotonic()
            if gpu == STOP:
                driver.send(waited)
                return
            waited += now - answered.get(gpu, now)
            heappush(due, (now + seconds, gpu))
        while due and due[0][0] <= time.monotonic():
            _, gpu = heappop(due)
            answered[gpu] = time.monotonic()
            driver.send((gpu, made[count % TEMPLATES]))
            count += 1


def templates() -> list[Outcome]:
    """Outcomes as large as a real one's, with different samples."""
    rng = np.random.default_rng(os.getpid())
    case = Case("attn", "pretended", parse_batch_spec("8q1kv1k"), AttnShape(), "bf16")
    work, guard = cost(case, 8), dict.fromkeys(("watts", "sm_clock_hz_median", "temperature"), 1e3)
    return [
        Outcome(
            Status.OK,
            samples=tuple(map(float, 1e-5 * rng.lognormal(sigma=0.01, size=SAMPLES))),
            calls_per_sample=10,
            cache_state="cold",
            flops=work.flops,
            bytes=work.bytes,
            decode_requests=8,
            decode_tokens=8,
            resolved={"num_splits": 4, "kernel": "pretended"},
            errors={"max": 1e-3, "mean": 1e-4},
            durations={"prepare": 0.1, "check": 0.2, "warmup": 0.3, "time": 0.4},
            guard=guard,
            enqueue_seconds=1e-5,
        )
        for _ in range(TEMPLATES)
    ]


def resident() -> int:
    """Bytes of memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
