"""A diff as JSON, for programs; unknown values are null.

`base_s` and `head_s` are geometric means of the rounds' medians in seconds, `ratio` is head over
base with its 95 % interval `low` to `high`; `device_ratio` is the part of it predicted by the
device's own sentinels, null if they have not moved. `cycles` has the change at one SM clock, where
it gives the verdict. `shift` is the ratio that all cells of separate sessions have in common.
`next_step` has the commands that should settle unclear cells, null where none would.
"""

import json
import math
from dataclasses import asdict

from attnbench.analysis.compare import geometric_mean_ratio
from attnbench.analysis.series import Series
from attnbench.analysis.shift import Shift
from attnbench.analysis.verdict import Comparison
from attnbench.results.diff import Diff, Row
from attnbench.results.selection import Selection
from attnbench.results.suspects import device_ratios, kernels_of, suspects

Json = dict[str, object]


def diff_json(diff: Diff) -> str:
    """One object; `cells` holds a verdict for each case on both sides, losers first."""
    found = {
        "base": _side(diff.base),
        "head": _side(diff.head),
        "differences": diff.differences,
        "suspects": suspects(diff),
        "across": asdict(diff.across) if diff.across else None,
        "margin": diff.margin,
        "noise": {
            "source": diff.basis.noise_source,
            "more_scatter": diff.basis.compared.more_scatter,
        },
        "shift": _shift(diff.basis.compared.shift) if diff.basis.compared.shift else None,
        "counts": diff.counts,
        "geometric_mean_ratio": (
            geometric_mean_ratio(diff.comparisons) if diff.comparisons else None
        ),
        "next_step": asdict(diff.next_step) if diff.next_step else None,
        "cells": list(map(_cell, diff.rows, device_ratios(diff, diff.rows))),
        "not_comparable": [
            {**_series(pair.base), "differs": text} for pair, text in diff.pairing.mismatches
        ],
        "only_in_base": [_series(series) for series in diff.pairing.only_base],
        "only_in_head": [_series(series) for series in diff.pairing.only_head],
    }
    return json.dumps(found, indent=1, allow_nan=False)


def _side(selection: Selection) -> Json:
    runs = [
        {
            "number": run.number,
            "uuid": run.uuid,
            "label": run.label,
            "branch": run.branch,
            "commit": run.commit,
            "started": run.started.isoformat(timespec="seconds"),
            "status": str(run.status),
            "machine": run.machine_name,
        }
        for run in selection.runs.values()
    ]
    return {"ref": selection.ref, "runs": runs}


def _shift(shift: Shift) -> Json:
    low, high = map(math.exp, shift.interval)
    return {
        "ratio": math.exp(shift.log_ratio),
        "low": low,
        "high": high,
        "num_cells": shift.num_cells,
        "by_controls": shift.by_controls,
    }


def _series(series: Series) -> Json:
    first = series.first
    return {
        **series.case.canonical(),
        "case_key": first.case_key,
        "method_key": first.method_key,
        "machine": first.machine_name,
    }


def _cell(row: Row, device: float | None) -> Json:
    base, head = row.pair.base, row.pair.head
    compared = asdict(row.comparison) if row.comparison else {}
    failures = head.failures or base.failures
    return {
        "verdict": row.verdict,
        "case": _series(base),
        "base_s": base.time,
        "head_s": head.time,
        "base_rounds": len(base.medians),
        "head_rounds": len(head.medians),
        **{name: compared.get(name) for name in _COMPARED},
        "device_ratio": device,
        "time_verdict": row.comparison.verdict if row.comparison else None,
        "cycles": _cycles(row.kernel) if row.kernel else None,
        "base_kernels": kernels_of(base),
        "head_kernels": kernels_of(head),
        "reason": compared.get("reason") or f"{failures[0].status}: {failures[0].outcome.reason}",
    }


def _cycles(kernel: Comparison) -> Json:
    return {
        "verdict": kernel.verdict,
        "ratio": kernel.ratio,
        "low": kernel.low,
        "high": kernel.high,
    }


_COMPARED = ("ratio", "low", "high", "p", "q", "detectable", "rounds_needed", "rounds_interleaved")
