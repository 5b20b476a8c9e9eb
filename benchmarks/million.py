"""How long `report` and `diff` take in a large database: python benchmarks/million.py

Fills a database with a million measurements (333 runs of 1000 cells of 3 rounds) and times the
commands on two of the runs, beside the same commands in a database of two small runs: what is
over that is what the size costs. Needs no GPU.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import islice, product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import text
from tabulate import tabulate

from attnbench.db.models import MeasurementRow
from attnbench.db.store import Store
from attnbench.families import cost
from attnbench.provenance.environment import Component, Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source
from attnbench.records import Outcome, RunStatus, Status
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape
from attnbench.timing.method import Method

RUNS, CELLS, ROUNDS = 333, 1000, 3
SMALL = 2  # cells of the small database's runs
REPEATS = 5
GOAL = 1.0  # seconds beyond start-up
COMMANDS = {
    "report, latest run": ["report"],
    "report, JSON": ["report", "--format", "json"],
    "report, another run": ["report", "--run", "base"],
    "diff, two runs": ["diff", "--base", "base", "--head", "head", "--fail-on", "never"],
    "diff, two branches": ["diff", "--base", "main", "--head", "pr", "--fail-on", "never"],
    "runs": ["runs"],
}
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
)
ENVIRONMENT = Environment("3.11.2", components={"torch": Component("2.11.0")})
METHOD = Method("cudagraph")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--cells", type=int, default=CELLS)
    parser.add_argument("--db", type=Path, help="keep the database here, and use it if it exists")
    parser.add_argument("--output", type=Path, help="write all numbers here, as JSON")
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        large, small = asked.db or Path(folder, "large.db"), Path(folder, "small.db")
        if not large.exists():
            fill(large, asked.runs, asked.cells)
        fill(small, 2, SMALL)
        rows = [row(name, args, large, small) for name, args in COMMANDS.items()]
    print(tabulate(rows, headers="keys", floatfmt=".2f"))
    if asked.output is not None:
        asked.output.write_text(json.dumps(rows, indent=1))
    sys.exit(0 if all(each["beyond s"] < GOAL for each in rows) else 1)


def fill(path: Path, runs: int, cells: int) -> None:
    """That many runs of as many cells; the last two are labelled base and head."""
    with Store.open(path) as store:
        first = start(store, 0, runs)
        for at, case in enumerate(islice(all_cases(), cells)):
            for round_ in range(ROUNDS):
                store.add(first, case, METHOD, round_, ROUNDS * at + round_, outcome(case, round_))
        others = [start(store, number, runs) for number in range(1, runs)]
        for run in others:
            copy(store, first, run)
        for run in (first, *others):
            store.finish_run(run, RunStatus.FINISHED)
    print(f"{path}: {path.stat().st_size / 2**20:.0f} MiB", file=sys.stderr)


def start(store: Store, number: int, runs: int) -> int:
    """A run of a commit of its own, on main but for the last."""
    label = {runs - 2: "base", runs - 1: "head"}.get(number)
    branch = "pr" if number == runs - 1 else "main"
    return store.start_run(
        command="attn",
        argv=["attnbench", "attn"],
        label=label,
        options={},
        plan={"rounds": ROUNDS},
        machine=H200,
        environment=ENVIRONMENT,
        source=Source("--source", "vllm", branch, f"{number:040x}", None, "message", "/src"),
    )


def all_cases() -> Sequence[Case]:
    """More cases than any run here has."""
    backends = ("flash", "triton", "flashinfer", "flex", "sdpa")
    specs = [
        f"{n}q{q}kv{k}"
        for n, q, k in product((1, 8, 64, 128), (1, 4, 16), range(1024, 20480, 1024))
    ]
    return [
        Case("attn", backend, parse_batch_spec(spec), AttnShape(), "bf16")
        for spec in specs
        for backend in backends
    ]


def outcome(case: Case, round_: int) -> Outcome:
    """A time of its own for each case, some tenths of a percent from that of other rounds."""
    work = cost(case, 0)
    seconds = work.bytes / 3e12 + work.flops / 5e14 + 3e-6 * (1 + len(case.backend) / 10)
    return Outcome(
        Status.OK,
        samples=tuple(seconds * (1 + 0.001 * ((round_ + at) % 3)) for at in range(21)),
        cache_state="cold",
        flops=work.flops,
        bytes=work.bytes,
        kernels=("flash_fwd_kernel", "flash_fwd_combine_kernel"),
        resolved={"block_size": 16, "layout": "NHD"},
        durations={"prepare": 0.1, "time": 0.2},
        guard={"sm_clock_hz_median": 1.98e9, "watts": 400.0},
    )


def copy(store: Store, origin: int, run: int) -> None:
    """All measurements of a run as those of another, up to half a percent faster or slower."""
    changed = {
        "run": ":run",
        "uuid": "lower(hex(randomblob(16)))",
        "median": "median * (1 + 0.005 * (random() % 1000) / 1000.0)",
    }
    names = [column.name for column in MeasurementRow.__table__.columns if column.name != "id"]
    values = ", ".join(changed.get(name, name) for name in names)
    with store.writing() as session:
        session.execute(
            text(
                f"INSERT INTO measurement ({', '.join(names)}) "
                f"SELECT {values} FROM measurement WHERE run = :origin"
            ),
            {"run": run, "origin": origin},
        )


def row(name: str, arguments: Sequence[str], large: Path, small: Path) -> dict[str, Any]:
    """Seconds of a command in both databases, and the difference."""
    (slow, work), (quick, least) = (seconds(arguments, db) for db in (large, small))
    return {
        "command": name,
        "large s": slow,
        "start-up s": quick,
        "beyond s": slow - quick,
        "beyond, CPU s": work - least,
    }


def seconds(arguments: Sequence[str], db: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a process, the median of some."""
    walls, works = [], []
    for _ in range(REPEATS):
        began, before = time.perf_counter(), cpu_seconds()
        subprocess.run(
            [sys.executable, "-m", "attnbench", *arguments, "--db", str(db)],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        walls.append(time.perf_counter() - began)
        works.append(cpu_seconds() - before)
    return median(walls), median(works)


def cpu_seconds() -> float:
    """What all processes that have ended used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
