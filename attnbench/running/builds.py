"""Workers in the Python of another environment, with the code of this attnbench."""

import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from attnbench.errors import UsageError
from attnbench.note import Note
from attnbench.provenance.environment import Environment, kept_variables, own_component
from attnbench.provenance.machine import Machine
from attnbench.provenance.nvml import has_exclusive_gpu
from attnbench.running.command import Command
from attnbench.running.devices import local_devices
from attnbench.running.interleaved import Side, check_one_device, interleaved
from attnbench.running.interleaved_cards import interleaved_on_cards
from attnbench.running.local_card import LocalCard
from attnbench.running.open_run import OpenRun
from attnbench.running.plan import Plan, PlanFor
from attnbench.running.process import Interpreter, WorkerProcess
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
        """A worker there, with attnbench from the folder `code`; WorkerDied if none starts."""
        try:
            worker = WorkerProcess.start(device, self._interpreter(code))
        except (WorkerDied, WorkerTimedOut) as error:
            raise WorkerDied(
                f"--{self.side}-python {self.python} cannot run a worker: {error}; it needs "
                f"{_NEEDED}"
            ) from None
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

    Raises WorkerDied for a build that cannot run a worker, UsageError if a device is another
    one for the other build.
    """
    if command.ray is not None:
        raise UsageError(
            f"--ray {command.ray}: {command.name} measures on the devices of this host, e.g. "
            "--device all"
        )

    def isolated(machine: Machine) -> Plan:
        return plan_for(machine).isolated()

    with own_code() as code:
        devices = local_devices(command.devices)
        base, head = (Side(build.label, partial(build.start, code)) for build in builds)
        if len(devices) > 1:
            yield from interleaved_on_cards(command, devices, [base, head], isolated, note)
            return
        alone = replace(command, devices=[devices[0].device])
        with checked(base, head, alone.device) as first:
            begun = replace(base, start=first_of(first, base.start))
            yield from interleaved(alone, [begun, head], isolated, note)


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
def checked(base: Side, head: Side, device: str) -> Iterator[Worker]:
    """Start a worker of each: WorkerDied if one cannot, UsageError for two devices.

    Both start at once, as each imports torch, unless a GPU takes one process at a time. Yields that
    of base, which has measured nothing.
    """
    with ExitStack() as stack:
        beside = LocalCard(head.label, device, head.start, lambda _: None)
        stack.callback(beside.close)
        greeted = beside.greet()
        if has_exclusive_gpu():
            greeted.result()
            beside.close()
        first = base.start(device)
        stack.callback(first.end)
        check_one_device(first.machine, greeted.result().machine)
        beside.close()
        yield first
