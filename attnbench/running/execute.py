"""One round of a case in the worker: prepare, check, time."""

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

from attnbench.families import cost
from attnbench.kernels.base import Backend, Prepared, Refused, Setting
from attnbench.kernels.check import (
    WrongResult,
    check,
    check_again,
    require_inputs,
)
from attnbench.kernels.deviation import Deviation
from attnbench.kernels.own import is_own
from attnbench.kernels.registry import find
from attnbench.labels import Label
from attnbench.provenance.machine import Machine
from attnbench.records import Outcome, Status
from attnbench.running.again import launched_again
from attnbench.running.allocator import FOR_CHECKS, peak_memory, release
from attnbench.running.memory import memory_refusal, working_sets
from attnbench.running.messages import Job
from attnbench.running.odd_lengths import check_odd_lengths
from attnbench.running.plain import bounded, byte_count, error_line, plain_values
from attnbench.running.regime import regime_of
from attnbench.running.stopwatch import Stopwatch
from attnbench.running.timers import Timing
from attnbench.specs.case import Case
from attnbench.specs.layer import layer_bytes
from attnbench.stats.samples import sample_labels
from attnbench.timing.cache import footprint_ratio, state_reached
from attnbench.timing.guard import Look, guard_facts
from attnbench.timing.host import enqueue_seconds, plan_seconds
from attnbench.timing.layer import NoTime, products_of
from attnbench.timing.measure import Samples, measure
from attnbench.timing.method import WITH_W_UK, Method

if TYPE_CHECKING:
    import torch


def execute(job: Job, machine: Machine, look: Look, report: Callable[[str], None]) -> Outcome:
    """Anything short of the process's death becomes an outcome with its reason.

    `look` reads the device; `report` is called as each phase begins.
    """
    import torch

    try:
        with torch.inference_mode():
            return _measured_unless_refused(job, machine, look, report)
    except Refused as refused:
        return Outcome(Status.REFUSED, error_line(refused))
    except WrongResult as wrong:
        return Outcome(Status.INCORRECT, str(wrong))
    except NoTime as too_little:
        return Outcome(Status.ERROR, str(too_little))
    except (MemoryError, torch.OutOfMemoryError) as error:
        return Outcome(Status.OOM, error_line(error))
    except Exception as error:  # noqa: BLE001 - a backend may raise anything; it is stored
        line = error_line(error)
        status = Status.OOM if "can't allocate memory" in line else Status.ERROR
        return Outcome(status, f"{type(error).__name__}: {line}")


def _measured_unless_refused(
    job: Job, machine: Machine, look: Look, report: Callable[[str], None]
) -> Outcome:
    backend = find(job.case.family, job.case.backend)
    reason = backend.refusal(job.case, machine)
    between, sets = job.method.between, job.num_layers or 1
    if reason := reason or memory_refusal(job.case, machine, sets, between):
        return Outcome(Status.REFUSED, bounded(reason))
    return _measured(job, backend, machine, look, report)


def _measured(
    job: Job,
    backend: Backend,
    machine: Machine,
    look: Look,
    report: Callable[[str], None],
) -> Outcome:
    watch, num_decode = Stopwatch(), backend.num_decode(job.case)
    prepared, deviation, before = _checked(job, backend, machine, report, watch)
    peak = peak_memory(prepared, machine) if job.profile_memory else None
    w_uk = job.method.layer_version == WITH_W_UK
    behind = job.method.between == "layer"
    layer = products_of(job.case, machine.device, w_uk=w_uk) if behind else None
    timing = Timing.of(job.method, prepared, machine, layer)
    method = replace(job.method, regime=regime_of(job.method, job.case, machine))
    samples = timed(prepared, timing, method, job.seed, look, watch)
    outcome = replace(
        _work_done(job, num_decode),
        **_working_set_facts(job, prepared, machine, timing),
        resolved=plain_values({**prepared.resolved, **timing.resolved}),
        errors=deviation.as_facts(),
        peak_memory=peak,
    )
    outcome = _with_samples(outcome, samples, timing, watch)
    watch.lap("facts")
    timing.clock.require_time(samples.values)
    _require_inputs(prepared, before)  # those of which later calls were timed
    sets, usual = launched_sets(prepared, timing, samples), median(samples.values)
    launched_again(prepared, timing.clock, sets, job.seed, usual, watch)
    if not prepared.renewable:
        outcome = replace(outcome, labels=(*outcome.labels, Label.SAME_INPUTS))
    outcome = replace(outcome, durations=watch.durations)
    return _with_host_side(outcome, prepared, machine) if job.host else outcome


def _checked(
    job: Job,
    backend: Backend,
    machine: Machine,
    report: Callable[[str], None],
    watch: Stopwatch,
) -> "tuple[Prepared, Deviation, torch.Tensor | None]":
    """The working sets, how far the output of the first is from its reference, and their digest.

    None as their digest where calls may overwrite their inputs.
    """
    report("prepare")
    if job.first:
        graphs = job.method.timer != "eager"
        check_odd_lengths(job.case, backend, machine.device, job.seed, graphs=graphs)
        release(machine)
        watch.lap("check_odd_lengths")
    prepared = _prepared(job, backend, machine)
    before = prepared.digest() if _must_keep_inputs(job.case, backend) else None
    prepared.calls[0]()  # a first call may compile, which counts as preparation
    _wait(machine)
    watch.lap("prepare")
    report("measure")
    _require_inputs(prepared, before)
    deviation = check(prepared, job.seed)
    release(machine, FOR_CHECKS)  # a captured graph has memory of its own
    watch.lap("check")
    return prepared, deviation, before


def _require_inputs(prepared: Prepared, before: "torch.Tensor | None") -> None:
    if before is not None:
        require_inputs(prepared, before)


def _prepared(job: Job, backend: Backend, machine: Machine) -> Prepared:
    """The working sets."""
    hot = job.method.cache == "hot"
    between = job.method.between
    sets = working_sets(job.case, machine, hot=hot, asked=job.num_layers, between=between)
    graphs = job.method.timer != "eager"
    return backend.prepare(job.case, Setting(machine.device, sets, job.seed, graphs))


def _must_keep_inputs(case: Case, backend: Backend) -> bool:
    """Whether calls may write their outputs alone, and who wrote the kernel may not know that."""
    return is_own(backend) and (case.scope == "kernel" or case.family == "mla")


def timed(
    prepared: Prepared, timing: Timing, method: Method, seed: int, look: Look, watch: Stopwatch
) -> Samples:
    """Samples of calls into poisoned outputs, then a second check of every set they reached."""
    if timing.stamps is not None:
        timing.stamps.start()
    watch.lap("capture")
    prepared.poison_sets(range(len(prepared.calls)))
    watch.lap("poison")
    samples = measure(timing.clock, method, time.perf_counter, look)
    watch.lap("time")
    check_again(prepared, launched_sets(prepared, timing, samples), seed)
    watch.lap("check_again")
    return samples


def launched_sets(prepared: Prepared, timing: Timing, samples: Samples) -> int:
    """The number of working sets that timing reached, the first ones."""
    launched = samples.warmup_calls + len(samples.values) * timing.clock.calls_per_sample
    return min(launched, len(prepared.calls))


def _working_set_facts(
    job: Job, prepared: Prepared, machine: Machine, timing: Timing
) -> dict[str, Any]:
    """The number of sets that the calls rotated over, and the cache state reached."""
    touched, sets, l2 = byte_count(prepared.touched_bytes), len(prepared.calls), machine.l2_bytes
    hot = job.method.cache == "hot"
    behind = timing.resolved.get("between", job.method.between) == "layer"
    between = layer_bytes(job.case) if behind else 0
    return {
        "sets": sets,
        "cache_state": state_reached(touched, sets, l2, hot=hot, between=between),
        "touched_bytes": touched,
        "footprint_ratio": footprint_ratio(touched, sets, l2),
    }


def _work_done(job: Job, num_decode: int) -> Outcome:
    """The useful work of a call, and the requests on each path."""
    work = cost(job.case, num_decode)
    split = [request.q_len for request in job.case.batch]
    return Outcome(
        Status.OK,
        flops=work.flops,
        bytes=work.bytes,
        decode_requests=num_decode,
        decode_tokens=sum(split[:num_decode]),
        prefill_requests=len(split) - num_decode,
        prefill_tokens=sum(split[num_decode:]),
    )


def _with_samples(outcome: Outcome, samples: Samples, timing: Timing, watch: Stopwatch) -> Outcome:
    guard, seen = guard_facts(samples.before(), samples.after(), samples.sampling_seconds)
    labels = (*samples.labels, *timing.labels, *seen, *sample_labels(samples.values))
    watch.durations["warmup"] = samples.warmup_seconds
    watch.durations["time"] = samples.sampling_seconds
    return replace(
        outcome,
        samples=samples.values,
        calls_per_sample=timing.clock.calls_per_sample,
        warmup_calls=samples.warmup_calls,
        labels=labels,
        guard=guard | timing.sm_clock_facts(len(samples.values)) | timing.clock.facts,
        kernels=timing.clock.kernels,
        kernel_seconds=timing.clock.kernel_seconds(len(samples.values)),
    )


def _with_host_side(outcome: Outcome, prepared: Prepared, machine: Machine) -> Outcome:
    """The host's cost of a call; measured last, since it leaves the GPU's queue full."""
    plan = prepared.plan
    return replace(
        outcome,
        enqueue_seconds=enqueue_seconds(prepared.calls) if machine.kind == "cuda" else None,
        plan_seconds=plan_seconds(plan) if plan is not None else None,
    )


def _wait(machine: Machine) -> None:
    if machine.kind == "cuda":
        import torch

        torch.cuda.synchronize(machine.device)
