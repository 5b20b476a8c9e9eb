"""From the options of a measuring command to a plan on a machine, and a command to store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attnbench.errors import UsageError
from attnbench.families.family import Family
from attnbench.families.options import FamilyOptions
from attnbench.note import Note
from attnbench.options.option import Named, stored
from attnbench.provenance.machine import Machine
from attnbench.running.cases import DEFAULT_TIMER, cases_for, check_asked
from attnbench.running.command import Command
from attnbench.running.measuring import Measuring
from attnbench.running.plan import Limits, Plan, PlanFor
from attnbench.specs.case import Case
from attnbench.timing.method import WITH_W_UK, Between, CacheAsked, Method, Timer


@dataclass(frozen=True)
class MeasuringRequest:
    """The options of a family's command, and those named on the command line."""

    family: Family
    options: FamilyOptions
    measuring: Measuring
    named: Named

    def plan_for(self, note: Note) -> PlanFor:
        """The plan on a machine; `note` is called with options that do not apply there.

        Raises UsageError for options that exclude each other.
        """
        if self.measuring.cache == "hot" and (self.measuring.num_layers or 1) > 1:
            raise UsageError(
                f"--num-layers {self.measuring.num_layers} rotates over as many working sets, and "
                "--cache hot repeats one; leave one of them out"
            )
        asked = self.family.asked(self.options, self.measuring.seed)
        check_asked(asked)
        return lambda machine: plan_of(
            self.measuring, cases_for(asked, machine.kind), machine, note
        )

    def command(self, argv: Sequence[str]) -> Command:
        """The command line `argv` as a run stores it."""
        return command_of(self.measuring, self.family.name, argv, stored(self.named))

    def files(self) -> list[str]:
        """The words that ask for files of the run, which a resumed command needs again."""
        kept = [
            each
            for each in self.named.values()
            if each.option.of_one_run and each.option.free_on_resume
        ]
        return [word for each in kept for word in each.option.words(each.value)]


def plan_of(measuring: Measuring, cases: Sequence[Case], machine: Machine, note: Note) -> Plan:
    """The plan of these cases by the measuring options."""
    if measuring.timer and machine.kind == "cpu":
        modes = " ".join(measuring.timer)
        note(f"--mode {modes} does not apply to a CPU, whose calls are timed one by one")
    if "layer" in measuring.between:
        if machine.kind == "cpu":
            note("--between layer does not apply to a CPU, whose calls are timed one by one")
        else:
            _check_layer(measuring, cases)
    if measuring.profile_memory and machine.kind == "cpu":
        note("--profile-memory: PyTorch does not count memory on a CPU, so it stays empty")
    return Plan(
        cases=tuple(cases),
        methods=_methods(measuring, machine),
        rounds=measuring.rounds,
        seed=measuring.seed,
        num_layers=measuring.num_layers,
        profile_memory=measuring.profile_memory,
        host=measuring.host,
        limits=Limits(prepare=measuring.prepare_timeout, measure=measuring.timeout),
    )


def _check_layer(measuring: Measuring, cases: Sequence[Case]) -> None:
    """Refuse options that a layer between the calls would make false."""
    conflicts = {
        "--mode " + " ".join(measuring.timer): set(measuring.timer) - {"cudagraph"},
        "--verify-timer": measuring.verify_timer and set(measuring.between) == {"layer"},
        f"--cache {measuring.cache}": measuring.cache != "cold",
        "--inputs hot": any(case.inputs == "hot" for case in cases),
    }
    if named := next((option for option, conflict in conflicts.items() if conflict), None):
        raise UsageError(
            f"{named} with --between layer: the layer stands between the calls of a CUDA graph and "
            "leaves nothing in the L2; accepted are --mode cudagraph, --cache cold, --between "
            "nothing layer beside --verify-timer and, for cache-write, --inputs cold, e.g. "
            "--between layer --cache cold"
        )


def _methods(measuring: Measuring, machine: Machine) -> tuple[Method, ...]:
    """A method per cache state, timer and what stands between calls."""
    both: tuple[CacheAsked, ...] = ("cold", "hot")
    caches = both if measuring.cache == "both" else (measuring.cache,)
    return tuple(
        Method(
            timer=timer,
            cache=cache,
            samples=measuring.samples,
            warmup_calls=measuring.warmup_calls,
            regime=measuring.regime,
            isolate=measuring.isolate,
            eager_fallback=measuring.eager_fallback,
            between=between,
            layer_version=WITH_W_UK,
        )
        for cache in caches
        for timer in _timers(measuring, machine)
        for between in (_betweens(measuring) if timer == "cudagraph" else ("nothing",))
    )


def _betweens(measuring: Measuring) -> tuple[Between, ...]:
    """What stands between the calls of a graph.

    By default nothing if caches or timers are compared: a layer has no part in the others.
    """
    compares = measuring.cache != "cold" or len(measuring.timer) > 1 or measuring.verify_timer
    usual: Between = "nothing" if compares else "auto"
    asked = measuring.between or ("auto",)
    return tuple(dict.fromkeys(usual if each == "auto" else each for each in asked))


def _timers(measuring: Measuring, machine: Machine) -> tuple[Timer, ...]:
    """The requested timers, and CUPTI to verify them."""
    if machine.kind == "cpu":
        return (DEFAULT_TIMER["cpu"],)
    timers = measuring.timer or (DEFAULT_TIMER["cuda"],)
    beside: tuple[Timer, ...] = ("kernel",) if measuring.verify_timer else ()
    return tuple(dict.fromkeys((*timers, *beside)))


def command_of(
    measuring: Measuring, name: str, argv: Sequence[str], options: Mapping[str, object]
) -> Command:
    """A command as a run stores it; `options` are those that a resumed run must keep."""
    return Command(
        name=name,
        argv=argv,
        options=options,
        devices=measuring.device,
        db=measuring.db,
        label=measuring.label,
        source=measuring.source,
        wait=measuring.wait,
        resume=measuring.resume,
        ray=measuring.ray,
        gpus=measuring.gpu,
        mixed=measuring.mixed,
    )
