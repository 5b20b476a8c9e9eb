"""Workers in the Python of another environment, with the code of this attnbench."""

import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from attnbench.errors import AttnbenchError, UsageError
from attnbench.provenance.environment import Environment, kept_variables, own_component
from attnbench.provenance.machine import Machine
from attnbench.running.command import Command
from attnbench.running.interleaved import Side, interleaved
from attnbench.running.open_run import OpenRun
from attnbench.running.process import Interpreter, WorkerProcess
from attnbench.running.request import Note, PlanFor
from attnbench.running.workers import StartWorker, Worker, WorkerDied, WorkerTimedOut
from attnbench.timing.finished import Finished

_NEEDED = "Python 3.11 or newer with torch, numpy and nvidia-ml-py"


@dataclass(frozen=True, slots=True)
class Build:
    """An environment to measure: its Python, and variables for its workers."""

    side: str  # base or head, as in the names of its options
    label: str  # of its run
    python: Path
    variables: Mapping[str, str]

    def start(self, code: Path, device: str) -> Worker:
        """A worker there, with attnbench from the folder `code`."""
        worker = WorkerProcess.start(device, self._interpreter(code))
        worker.environment = self._recorded(worker.environment)
        return worker

    def _interpreter(self, code: Path) -> Interpreter:
        given = {**os.environ, **self.variables}
        first = {"PYTHONPATH": code, "PATH": self.python.parent}  # its own ninja and nvcc wrappers
        paths = {
            name: os.pathsep.join(filter(None, (str(folder), given.get(name))))
            for name, folder in first.items()
        }
        return Interpreter((str(self.python),), {**self.variables, **paths}, code)

    def _recorded(self, environment: Environment) -> Environment:
        """The worker's environment, with the attnbench that runs and every given variable."""
        variables = kept_variables(self.variables, self.variables)
        return replace(
            environment,
            components={**environment.components, "attnbench": own_component()},
            variables=dict(sorted({**environment.variables, **variables}.items())),
        )


def alternately(
    command: Command, builds: tuple[Build, Build], plan_for: PlanFor, note: Note
) -> Generator[tuple[OpenRun, Finished]]:
    """Measure two builds alternately, each round in a fresh worker; yields outcomes with their run.

    Raises AttnbenchError for a build that cannot run a worker, UsageError for two devices.
    """
    with own_code() as code, checked(builds, code, command.device) as base:
        again, head = (partial(build.start, code) for build in builds)
        sides = [Side(builds[0].label, first_of(base, again)), Side(builds[1].label, head)]
        yield from interleaved(command, sides, lambda m: plan_for(m).isolated(), note)


def first_of(worker: Worker, start: StartWorker) -> StartWorker:
    """A function that returns the worker when first called, and starts others from then on."""
    left = [worker]
    return lambda device: left.pop() if left else start(device)


def without_secrets(argv: Sequence[str], builds: Iterable[Build]) -> list[str]:
    """A command line without the values of variables that hold secrets."""
    given = [item for build in builds for item in build.variables.items()]
    hidden = tuple(f"{n}={v}" for n, v in given if n not in kept_variables({n: v}, (n,)))
    return [f"{word.partition('=')[0]}=..." if word.endswith(hidden) else word for word in argv]


@contextmanager
def own_code() -> Iterator[Path]:
    """A folder with this attnbench and nothing else, for the PYTHONPATH of an environment.

    The folder around the package may also hold all libraries of this environment.
    """
    with TemporaryDirectory(prefix="attnbench-") as folder:
        Path(folder, "attnbench").symlink_to(Path(__file__).parents[1])
        yield Path(folder)


@contextmanager
def checked(builds: tuple[Build, Build], code: Path, device: str) -> Iterator[Worker]:
    """Start a worker in each: AttnbenchError if one cannot, UsageError for two devices.

    Yields that of base, which has measured nothing: importing vLLM again takes 10 s and more.
    """
    base, head = builds
    with _started(head, code, device) as worker:
        other = worker.machine
    with _started(base, code, device) as worker:
        if worker.machine.key != other.key:
            raise UsageError(
                f"base runs on {_device(worker.machine)}, head on {_device(other)}: both must "
                "measure one device; give them the same --device and CUDA_VISIBLE_DEVICES"
            )
        yield worker


@contextmanager
def _started(build: Build, code: Path, device: str) -> Iterator[Worker]:
    try:
        worker = build.start(code, device)
    except (WorkerDied, WorkerTimedOut) as error:
        raise AttnbenchError(
            f"--{build.side}-python {build.python} cannot run a worker: {error}; it needs {_NEEDED}"
        ) from None
    try:
        yield worker
    finally:
        worker.end()


def _device(machine: Machine) -> str:
    return f"{machine.label} {machine.gpu_uuid}" if machine.gpu_uuid else machine.label
