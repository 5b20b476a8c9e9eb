"""`--dry-run`: the cases, those refused here, the expected memory and time."""

from dataclasses import dataclass

from attnbench.db.migrations import holds_results
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.families import cost
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine, gpus_seen_by_nvml
from attnbench.running.cards import of_models
from attnbench.running.command import Command
from attnbench.running.devices import local_devices
from attnbench.running.memory import memory_of, working_sets
from attnbench.running.plan import Plan, PlanFor
from attnbench.running.regime import regime_of
from attnbench.running.workers import WorkerDied, WorkerTimedOut
from attnbench.specs.case import Case
from attnbench.timing.measure import SUSTAINED_LOAD
from attnbench.timing.method import Between

# Of a round without a stored one: seconds for a short call (an H200 took 0.1 to 0.8,
# docs/lab/kernels.md), and FLOP/s and byte/s, by which a call is long. Orders of magnitude.
SECONDS_A_ROUND = {"cuda": 0.5, "cpu": 2.5}
_RATES = {"cuda": (2e14, 1e12), "cpu": (5e10, 5e9)}
_CALLS = 15  # the least that preparation, warm-up, sampling and checks make of long ones


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The forecast of one case of a plan."""

    case: Case
    refusal: str | None
    sets: int
    memory: int  # bytes of all working sets, and of what they share
    seconds: float  # of all rounds; of one that a time limit ends
    stored: bool  # seconds come from stored rounds of the same case
    too_long: bool  # a round is likely to reach its time limit


@dataclass(frozen=True, slots=True)
class Forecast:
    """The forecast of a plan on this machine."""

    machine: Machine
    plan: Plan
    cases: tuple[Foreseen, ...]
    unasked: str | None  # why no worker could say what can run
    num_cards: int = 1  # that share the run

    @property
    def where(self) -> str:
        """The machine, with the number of cards if there are several."""
        return (
            f"{self.num_cards} x {self.machine.label}" if self.num_cards > 1 else self.machine.label
        )

    @property
    def seconds(self) -> float:
        """Of all cases, shared evenly by the cards."""
        return sum(each.seconds for each in self.cases if each.refusal is None) / self.num_cards


def forecast(command: Command, plan_for: PlanFor) -> Forecast:
    """The forecast of a command; works even if the worker dies.

    Raises UsageError for a database that the command could not open or create, for a cluster, and
    for an only device of another model than those asked for.
    """
    if command.ray is not None:
        raise UsageError(
            "--dry-run asks a device of this host, and --ray measures on others; leave one of them "
            "out"
        )
    has_results = holds_results(command.db)
    first, *others = local_devices(command.devices)
    try:
        with first.start(first.device) as worker:
            if not others:
                of_models([worker], command.gpus)
            machine, plan = worker.machine, plan_for(worker.machine)
            outcomes = worker.probe(plan.cases)
            refusals = [None if each is None else each.reason for each in outcomes]
            unasked = None
    except (WorkerDied, WorkerTimedOut) as error:
        machine = _guessed(first.device)
        plan, unasked = plan_for(machine), str(error)
        refusals = [None] * len(plan.cases)
    spent = _stored_seconds(command.db, plan, machine) if has_results else {}
    pairs = zip(plan.cases, refusals, strict=True)
    foreseen = tuple(_foreseen(case, why, plan, machine, spent) for case, why in pairs)
    return Forecast(machine, plan, foreseen, unasked, 1 + len(others))


def _foreseen(
    case: Case, refusal: str | None, plan: Plan, machine: Machine, spent: dict[str, float]
) -> Foreseen:
    methods = plan.methods_of(case)
    hot = all(method.cache == "hot" for method in methods)
    free = machine.memory_bytes or 0  # of a GPU; nothing else runs there by then
    layer = any(method.between == "layer" for method in methods)
    between: Between = "layer" if layer else "nothing"
    sets = working_sets(case, machine, hot=hot, asked=plan.num_layers, free=free, between=between)
    memory = int(sum(memory_of(case, sets, machine, between).values()))
    seconds = spent.get(case.key, _seconds_a_round(case, plan, machine))
    too_long = case.key not in spent and seconds > plan.limits.measure
    rounds, seconds = (1, plan.limits.measure) if too_long else (plan.rounds, seconds)
    total = 0.0 if refusal is not None else rounds * len(methods) * seconds
    return Foreseen(case, refusal, sets, memory, total, case.key in spent, too_long)


def _seconds_a_round(case: Case, plan: Plan, machine: Machine) -> float:
    """A guess from the work, including the load before the samples if a method has one."""
    regimes = {regime_of(method, case, machine) for method in plan.methods}
    work = cost(case, find(case.family, case.backend).num_decode(case))
    flops_per_second, bytes_per_second = _RATES[machine.kind]
    call = max(work.flops / flops_per_second, work.bytes / bytes_per_second)
    usual = SECONDS_A_ROUND[machine.kind] + SUSTAINED_LOAD * ("sustained" in regimes)
    return usual + _CALLS * call


def _stored_seconds(db: str, plan: Plan, machine: Machine) -> dict[str, float]:
    """Mean seconds of a stored round of each case on this machine model."""
    with Store.open(db, create=False) as store:
        return store.seconds_a_round([case.key for case in plan.cases], machine.model_key)


def _guessed(device: str) -> Machine:
    """The device as the driver names it, without torch."""
    names = gpus_seen_by_nvml()
    if device == "cpu" or not names:
        return Machine(kind="cpu", device="cpu", name="CPU")
    index = int(device.partition(":")[2] or 0)
    return Machine(kind="cuda", device=f"cuda:{index}", name=names[min(index, len(names) - 1)])
