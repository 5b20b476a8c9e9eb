"""Every round as one flat record, as CSV or JSON. Nothing stands for what is not known.

Names end in the unit: `_s` seconds, `_bytes`. Bare `flops` and `bytes` are the useful work of one
call, `tflops` and `gbps` that work over the median, in 1e12 FLOP/s and 1e9 byte/s.
"""

import csv
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import TextIO

from attnbench.db.rows import Run
from attnbench.records import Measurement, Status
from attnbench.specs.shape import AttnShape, MlaShape

Record = dict[str, object]

_DIMS = tuple(dict.fromkeys(f.name for f in (*fields(AttnShape), *fields(MlaShape))))


def write_csv(measurements: Iterable[Measurement], runs: Mapping[int, Run], stream: TextIO) -> None:
    """A header, then a line for each round; lists are a;b and mappings name=value;name=value."""
    writer = csv.writer(stream, lineterminator="\n")
    for number, each in enumerate(measurements):
        found = record(each, runs[each.run])
        if number == 0:
            writer.writerow(found)
        writer.writerow(map(_cell, found.values()))


def write_json(
    measurements: Iterable[Measurement], runs: Mapping[int, Run], stream: TextIO
) -> None:
    """A list of one object for each round, with the names of the CSV."""
    records = [record(each, runs[each.run]) for each in measurements]
    json.dump(records, stream, indent=1, allow_nan=False)
    stream.write("\n")


def record(measurement: Measurement, run: Run) -> Record:
    """A round by stable names, the same for every round; None where nothing is known."""
    return {
        **_origin(measurement, run),
        **_case(measurement),
        **_method(measurement),
        **_outcome(measurement),
        **_work(measurement),
    }


def _origin(m: Measurement, run: Run) -> Record:
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
        "gpu_uuid": run.machine["gpu_uuid"],
        "hostname": run.machine["hostname"],
    }


def _case(m: Measurement) -> Record:
    case, dims = m.case, asdict(m.case.shape)
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
        **{name: dims.get(name) for name in _DIMS},
        "dtype": case.dtype,
        "kv_cache_dtype": case.kv_cache_dtype,
        "block_size": case.block_size,
        "layout": case.layout,
        "scope": case.scope,
        "knobs": dict(case.knobs),
        "resolved": dict(m.resolved),
    }


def _method(m: Measurement) -> Record:
    return {
        "method_key": m.method_key,
        "timer": m.method["timer"],
        "cache_asked": m.method["cache"],
        "method": dict(m.method),
    }


def _outcome(m: Measurement) -> Record:
    return {
        "round": m.round,
        "position": m.position,
        "status": str(m.status),
        "reason": m.reason or None,
        "median_s": m.median,
        "low_s": m.low,
        "high_s": m.high,
        "num_samples": m.num_samples,
        "labels": list(m.labels),
        "errors": _finite(m.facts["errors"]),
        "durations_s": _finite(m.facts["durations"]),
    }


def _work(m: Measurement) -> Record:
    """What a call did; all unknown unless it is ok."""
    facts = m.facts
    found = {
        "cache_state": m.cache_state,
        "sets": m.sets,
        "touched_bytes": m.touched_bytes,
        "flops": m.flops,
        "bytes": m.bytes,
        "tflops": m.flops / m.median / 1e12 if m.median else None,
        "gbps": m.bytes / m.median / 1e9 if m.median else None,
        "calls_per_sample": facts["calls_per_sample"],
        "warmup_calls": facts["warmup_calls"],
        "decode_requests": facts["decode_requests"],
        "decode_tokens": facts["decode_tokens"],
        "prefill_requests": facts["prefill_requests"],
        "prefill_tokens": facts["prefill_tokens"],
        "peak_memory_bytes": facts["peak_memory"],
    }
    return found if m.status is Status.OK else dict.fromkeys(found)


def _finite(numbers: object) -> Record:
    """JSON has no NaN and no infinity."""
    assert isinstance(numbers, Mapping)
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _cell(value: object) -> object:
    if isinstance(value, dict):
        return ";".join(f"{name}={'' if v is None else v}" for name, v in value.items())
    return ";".join(value) if isinstance(value, list) else value
