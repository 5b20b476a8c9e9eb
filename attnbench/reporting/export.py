"""Every round as one flat record, as CSV or JSON; unknown values are empty or null.

Names end in the unit: `_s` seconds, `_bytes`, `_hz`, `_c` degrees Celsius, `_w` watts, `_j` joules.
Bare `flops` and `bytes` are the useful work of one call, `tflops` and `gbps` that work over the
median, in 1e12 FLOP/s and 1e9 byte/s, `sm_cycles` the median times the SM clock of its samples.
`roofline` and `of_measured` are fractions: of the physical limits, and of the rates that the device
itself reached when its run started.
"""

import csv
import json
import math
from collections.abc import Iterable, Mapping
from typing import TextIO

from attnbench.analysis.roofline import (
    is_above_roofline,
    measured_fraction,
    roofline_fraction,
)
from attnbench.analysis.series import Series, sm_cycles
from attnbench.labels import Label
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.records import Measurement, Run, Status
from attnbench.reporting.csv_text import csv_text
from attnbench.results.cohort import NO_SENTINELS, SentinelFacts
from attnbench.specs.case import FLAT_FIELDS
from attnbench.specs.shape import DIMS
from attnbench.timing.guard import REASONS
from attnbench.timing.sentinels import Sentinels

Record = dict[str, object]

# Packages with kernels.
_VERSIONS = {
    "torch_version": "torch",
    "triton_version": "triton",
    "vllm_version": "vllm",
    "flashinfer_version": "flashinfer-python",
    "attnbench_version": "attnbench",
}
# The guard's facts by name, and what marks cost; the reasons for reduced clocks are a list of their
# own.
_GUARD = {
    "sm_clock_before_hz": "sm_clock_hz_before",
    "sm_clock_after_hz": "sm_clock_hz_after",
    "sm_clock_median_hz": "sm_clock_hz_median",
    "sm_clock_lowest_hz": "sm_clock_hz_lowest",
    "sm_clock_highest_hz": "sm_clock_hz_highest",
    "memory_clock_hz": "memory_clock_hz",
    "temperature_c": "temperature",
    "power_w": "watts",
    "mean_power_w": "mean_watts",
    "energy_j": "joules",
    "power_limited_share": "power_limited_share",
    "thermal_share": "thermal_share",
    "gpu_processes": "processes",
    "marks_s": "marks_seconds",
}


def write_csv(
    measurements: Iterable[Measurement],
    runs: Mapping[int, Run],
    stream: TextIO,
    sentinels: SentinelFacts,
) -> None:
    """A header, then a line per round; lists are a;b and mappings name=value;name=value."""
    writer = csv.writer(stream, lineterminator="\n")
    for number, each in enumerate(measurements):
        found = record(each, runs[each.run], sentinels)
        if number == 0:
            writer.writerow(found)
        writer.writerow(csv_text(_cell(value)) for value in found.values())


def write_json(
    measurements: Iterable[Measurement],
    runs: Mapping[int, Run],
    stream: TextIO,
    sentinels: SentinelFacts,
) -> None:
    """A list with an object per round, with the names of the CSV."""
    records = [record(each, runs[each.run], sentinels) for each in measurements]
    json.dump(records, stream, indent=1, allow_nan=False)
    stream.write("\n")


def record(measurement: Measurement, run: Run, sentinels: SentinelFacts = NO_SENTINELS) -> Record:
    """A round by stable names, the same for every round; None if unknown."""
    machine, series = Machine.from_facts(run.machine), Series((measurement,))
    fraction = roofline_fraction(series, machine)
    reached = {
        moment: Sentinels.from_facts(facts)
        for moment, facts in sentinels.get(run.number, {}).items()
    }
    return {
        **_origin(measurement, run),
        **_case(measurement),
        **_method(measurement),
        **_outcome(measurement, wrong=is_above_roofline(series, machine, reached.values())),
        **_work(measurement),
        "roofline": fraction,
        "of_measured": measured_fraction(series, machine, reached.get("start")),
        **_kernels(measurement),
        **_guard(measurement),
    }


def _origin(m: Measurement, run: Run) -> Record:
    components = Environment.from_facts(run.environment).components
    return {
        "uuid": m.uuid,
        "run": m.run,
        "run_uuid": run.uuid,
        "started": run.started.isoformat(timespec="seconds"),
        "label": run.label,
        "branch": run.branch,
        "commit": run.commit,
        "dirty": run.source["dirty"],
        "machine": m.machine_name,
        "gpu_uuid": m.gpu_uuid,
        "hostname": m.hostname,
        "driver": run.machine["driver"],
        **{
            column: components[name].version if name in components else None
            for column, name in _VERSIONS.items()
        },
    }


def _case(m: Measurement) -> Record:
    case, fields = m.case, m.case.fields()
    return {
        "case_key": m.case_key,
        "workload_key": m.workload_key,
        "family": case.family,
        "backend": case.backend,
        "batch_spec": str(case.batch),
        "num_requests": len(case.batch),
        "num_tokens": case.batch.num_tokens,
        "num_kv_tokens": case.batch.num_kv_tokens,
        "max_q_len": case.batch.max_q_len,
        "max_kv_len": case.batch.max_kv_len,
        **{name: fields.get(name) for name in (*DIMS, *FLAT_FIELDS)},
        "knobs": dict(case.knobs),
        "resolved": dict(m.outcome.resolved),
    }


def _method(m: Measurement) -> Record:
    return {
        "method_key": m.method_key,
        "timer": m.method["timer"],
        "cache_asked": m.method["cache"],
        "method": dict(m.method),
    }


def _outcome(m: Measurement, *, wrong: bool) -> Record:
    labels = dict.fromkeys([*m.outcome.labels, *[Label.ABOVE_ROOFLINE][:wrong]])
    return {
        "round": m.round + 1,  # as in all other output
        "position": m.position,
        "status": str(m.status),
        "reason": m.outcome.reason or None,
        "median_s": m.median,
        "low_s": m.low,
        "high_s": m.high,
        "num_samples": m.num_samples,
        "labels": list(labels),
        "errors": _finite(m.outcome.errors),
        "durations_s": _finite(m.outcome.durations),
    }


def _work(m: Measurement) -> Record:
    """The work of a call; all None unless it is ok."""
    work, series = m.outcome, Series((m,))
    flop_rate, byte_rate = series.flops_per_second, series.bytes_per_second
    found: Record = {
        "cache_state": work.cache_state,
        "regime": series.regime,
        "sets": work.sets,
        "touched_bytes": work.touched_bytes,
        "footprint_ratio": work.footprint_ratio,
        "flops": work.flops,
        "bytes": work.bytes,
        "tflops": flop_rate and flop_rate / 1e12,
        "gbps": byte_rate and byte_rate / 1e9,
        "sm_cycles": sm_cycles(m),
        "calls_per_sample": work.calls_per_sample,
        "warmup_calls": work.warmup_calls,
        "decode_requests": work.decode_requests,
        "decode_tokens": work.decode_tokens,
        "prefill_requests": work.prefill_requests,
        "prefill_tokens": work.prefill_tokens,
        "peak_memory_bytes": work.peak_memory,
    }
    return found if m.status is Status.OK else dict.fromkeys(found)


def _kernels(m: Measurement) -> Record:
    """The kernels on the GPU, and a call's cost on the host."""
    work = m.outcome
    return {
        "kernels": list(work.kernels) or None,
        "kernel_s": work.kernel_seconds,
        "enqueue_s": work.enqueue_seconds,
        "plan_s": work.plan_seconds,
    }


def _guard(m: Measurement) -> Record:
    """The guard's facts; no reasons without facts."""
    facts = _finite(m.outcome.guard)
    reasons = [name for name in REASONS if name in facts]
    found = {name: facts.get(fact) for name, fact in _GUARD.items()}
    return found | {"clock_reasons": reasons if facts else None}


def _finite(numbers: Mapping[str, float]) -> Record:
    """The numbers without NaN and infinity, which JSON does not have."""
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _cell(value: object) -> object:
    if isinstance(value, dict):
        return ";".join(f"{name}={'' if v is None else v}" for name, v in value.items())
    return ";".join(value) if isinstance(value, list) else value
