"""One round of one case, in the worker: prepare, check, time."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from attnbench.kernels.base import Backend, Prepared, Refused, Setting
from attnbench.kernels.check import WrongResult, check, check_again
from attnbench.kernels.registry import find
from attnbench.kernels.tolerance import Deviation
from attnbench.provenance.machine import Machine
from attnbench.records import Outcome, Status
from attnbench.running.messages import Job
from attnbench.specs.cost import cost
from attnbench.timing.cache import sets_for, state_reached
from attnbench.timing.cpu import CpuClock
from attnbench.timing.cuda import EagerClock, GraphClock
from attnbench.timing.measure import Clock, Samples, measure

CPU_MEMORY = 128 * 2**20  # bytes of working sets; filling them takes longer than the gain is worth
GPU_SHARE = 0.4  # of the free memory


@dataclass(slots=True)
class Stopwatch:
    """Seconds that each part of a job took."""

    durations: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, name: str) -> None:
        """Book the time since the last lap."""
        now = time.perf_counter()
        self.durations[name], self._last = now - self._last, now


def execute(job: Job, machine: Machine, report: Callable[[str], None]) -> Outcome:
    """Whatever happens short of the process's death becomes an outcome with its reason."""
    import torch

    backend = find(job.case.family, job.case.backend)
    if reason := backend.refusal(job.case, machine):
        return Outcome(Status.REFUSED, reason)
    try:
        with torch.inference_mode():
            return _measured(job, backend, machine, report)
    except Refused as refused:
        return Outcome(Status.REFUSED, str(refused))
    except WrongResult as wrong:
        return Outcome(Status.INCORRECT, str(wrong))
    except (MemoryError, torch.OutOfMemoryError) as error:
        return Outcome(Status.OOM, _first_line(error))
    except Exception as error:  # noqa: BLE001 - a backend may raise anything; it is stored
        status = Status.OOM if "can't allocate memory" in str(error) else Status.ERROR
        return Outcome(status, f"{type(error).__name__}: {_first_line(error)}")


def _measured(
    job: Job, backend: Backend, machine: Machine, report: Callable[[str], None]
) -> Outcome:
    import torch

    watch, case = Stopwatch(), job.case
    num_decode = backend.num_decode(case)
    work, hot = cost(case, num_decode), job.method.cache == "hot"
    budget = memory_budget(machine)
    sets = sets_for(work.bytes, machine.l2_bytes, budget, hot=hot, asked=job.num_layers)
    report("prepare")
    prepared = backend.prepare(case, Setting(machine.device, sets, job.seed))
    if machine.kind == "cuda":
        torch.cuda.synchronize(machine.device)
    watch.lap("prepare")
    report("measure")
    deviation = check(prepared, job.seed)
    watch.lap("check")
    peak = peak_memory(prepared, machine) if job.profile_memory else None
    clock = _clock(job, prepared, machine)
    for index in range(len(prepared.calls)):
        prepared.poison(index)
    watch.lap("capture")
    samples = measure(clock, job.method, time.perf_counter)
    watch.lap("time")
    launched = samples.warmup_calls + len(samples.values) * clock.calls_per_sample
    check_again(prepared, min(launched, sets), job.seed)
    watch.lap("check_again")
    split = [request.q_len for request in case.batch]
    outcome = Outcome(
        Status.OK,
        sets=sets,
        cache_state=state_reached(prepared.touched_bytes, sets, machine.l2_bytes, hot=hot),
        touched_bytes=prepared.touched_bytes,
        flops=work.flops,
        bytes=work.bytes,
        decode_requests=num_decode,
        decode_tokens=sum(split[:num_decode]),
        prefill_requests=len(split) - num_decode,
        prefill_tokens=sum(split[num_decode:]),
        resolved=prepared.resolved,
        peak_memory=peak,
    )
    return _with_samples(outcome, samples, clock, deviation, watch)


def _with_samples(
    outcome: Outcome, samples: Samples, clock: Clock, deviation: Deviation, watch: Stopwatch
) -> Outcome:
    watch.durations["warmup"] = samples.warmup_seconds
    watch.durations["time"] = samples.sampling_seconds
    return replace(
        outcome,
        samples=samples.values,
        calls_per_sample=clock.calls_per_sample,
        warmup_calls=samples.warmup_calls,
        labels=samples.labels + tuple(getattr(clock, "labels", ())),
        errors=deviation.as_facts(),
        durations=watch.durations,
    )


def _clock(job: Job, prepared: Prepared, machine: Machine) -> Clock:
    if machine.kind == "cpu":
        return CpuClock(prepared.calls)
    if job.method.timer == "cudagraph":
        return GraphClock(prepared.calls, machine.device)
    return EagerClock(prepared.calls, machine.device)


def memory_budget(machine: Machine) -> int:
    """Bytes that the working sets of a case may take."""
    if machine.kind == "cpu":
        return CPU_MEMORY
    import torch

    free, _ = torch.cuda.mem_get_info(machine.device)
    return int(GPU_SHARE * free)


def peak_memory(prepared: Prepared, machine: Machine) -> int | None:
    """Bytes allocated at the height of one call, inputs apart; None where torch keeps no count."""
    if machine.kind == "cpu":
        return None
    import torch

    before = torch.cuda.memory_allocated(machine.device)
    torch.cuda.reset_peak_memory_stats(machine.device)
    prepared.calls[0]()
    return int(torch.cuda.max_memory_allocated(machine.device) - before)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
