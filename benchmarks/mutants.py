"""Does the check find wrong kernels? python benchmarks/mutants.py [--device cpu]

Plants every fault of `attnbench/kernels/mutants` in honest kernels, one at a time, and gives each
mutant one round's checks: before timing, of all sets, and with new inputs; nothing is timed.
"""

import argparse
import math
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import shares
import torch
from tabulate import tabulate

from attnbench.families import FAMILIES
from attnbench.kernels.mutants.trial import HONEST, Trial, made_ready, trials
from attnbench.provenance.machine import Machine, read_machine
from attnbench.running.cases import batches_of, cases_for
from attnbench.running.device import resolve_device
from attnbench.specs.case import Case

SETS = 3
# Contexts of 1k, 16k and 128k keys that no page divides: decodes, extends and prompts.
DECODES = "8q1kv1k 4q1kv16395 q1kv131067"
EXTENDS = "4q4kv1k q16kv16395 q64kv131067"
PROMPTS = "q1k 2q300_6q1kv777"
LATENT = "8q1kv1019 4q1kv16395 q1kv131067 4q4kv1019"
ATTENTION = ("sdpa", "naive", "flash", "triton", "flashinfer")
IN_FP8 = ("flash", "triton")
WRITES = ("cuda", "triton", "flashinfer")
# A window of whole tiles: FlashAttention 3 is wrong at others (docs/lab/checks.md).
FEATURES = {"window": (512,), "softcap": (30.0,), "sinks": (True,)}

SMALL = {"num_q_heads": 4, "num_kv_heads": 2}
SPARSE = {"index_topk": (128,), "scope": "kernel"}
FP8, BOTH = {"kv_cache_dtype": ("fp8",)}, {"kv_cache_dtype": ("auto", "fp8")}
QUANTS = ("fp8-qkv", "fp8")

# Family and options of each sweep, by kind of device.
SWEEPS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "cpu": [
        (
            "attn",
            {"backend": ("naive", "sdpa"), "batch": "4q1kv1k 2q4kv1019 2q80_3q1kv77", **SMALL},
        ),
        ("attn", {"backend": ("sdpa",), "batch": "2q1kv16395 q1kv131067", **SMALL}),
        ("attn", {"backend": ("naive",), "batch": "3q1kv1019 2q40kv777", **SMALL, **FEATURES}),
        ("mla", {"backend": ("torch-absorbed",), "batch": "2q1kv1019 q20kv300", "tp": 16}),
        ("mla", {"backend": ("torch-absorbed",), "batch": "2q1kv500", "tp": 16, "scope": "layer"}),
        ("mla", {"backend": ("torch-mha",), "batch": "q100kv150", "tp": 16}),
        ("mla", {"backend": ("torch-absorbed",), "batch": "2q1kv700", "tp": 16, **SPARSE}),
        ("mla", {"backend": ("torch-absorbed",), "batch": "2q1kv1019", "tp": 16, **FP8}),
        ("prefill-trtllm", {"backend": ("torch",), "batch": "q300 q100_q70", "quant": QUANTS}),
        ("cache-write", {"backend": ("torch",), "batch": "q1 q77", **BOTH}),
        ("cache-write", {"backend": ("torch",), "batch": "q77", "kind": "mla"}),
    ],
    "cuda": [
        ("attn", {"backend": ATTENTION, "batch": f"{DECODES} {EXTENDS} {PROMPTS}", "tp": 4}),
        ("attn", {"backend": IN_FP8, "batch": f"{DECODES} {EXTENDS} {PROMPTS}", "tp": 4, **FP8}),
        ("attn", {"backend": ("flashinfer",), "batch": DECODES, "tp": 4, **FP8}),
        ("attn", {"backend": ("flash", "triton"), "batch": "8q1kv1019 q300kv777", **FEATURES}),
        ("mla", {"backend": ("flashmla", "flashattn_mla"), "batch": LATENT, "tp": 8}),
        ("mla", {"backend": ("flashmla",), "batch": LATENT, "tp": 8, **FP8}),
        ("mla", {"backend": ("flashmla",), "batch": "8q1kv1019 q300", "tp": 8, "scope": "layer"}),
        ("mla", {"backend": ("flashmla_sparse",), "batch": "8q1kv4091 q1kv16395", "tp": 2}),
        ("cache-write", {"backend": WRITES, "batch": "q1 q77 q4k", **BOTH}),
        ("cache-write", {"backend": ("cuda",), "batch": "q77", "kind": "mla"}),
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    shares.add_options(parser)
    shares.run(parser.parse_args(), measured, show, "trials")


def measured(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The trials of a share of the cases, more after each case, as far as the time goes."""
    machine = read_machine(resolve_device(asked.device))
    cases, rows = shares.share(all_cases(machine), asked), list[dict[str, Any]]()
    facts = {"machine": machine.as_facts(), "seed": asked.seed, "trials": rows}
    yield facts | {"not_reached": len(cases)}
    for case in shares.in_time(cases, asked):
        rows += [row_of(t) for t in found_in(case, machine, asked.seed) if t.fault != HONEST]
        yield facts | {"not_reached": len(cases)}


def row_of(trial: Trial) -> dict[str, Any]:
    """A trial as it is written; JSON has no infinity."""
    numbers = {"share": trial.share, "change": trial.change}
    finite = {name: each if math.isfinite(each) else None for name, each in numbers.items()}
    return {"case": name_of(trial.case), "fault": trial.fault, "finding": trial.finding, **finite}


def found_in(case: Case, machine: Machine, seed: int) -> list[Trial]:
    """The trials of a case; one that cannot run, or fails as it is, says so on stderr."""
    started = time.perf_counter()
    try:
        with torch.inference_mode():
            found = list(trials(case, lambda: made_ready(case, machine, SETS, seed), seed))
    except Exception as why:  # noqa: BLE001 - a backend may raise anything
        print(f"{name_of(case)}: {type(why).__name__}: {why}"[:300], file=sys.stderr)
        return []
    missed = [t.fault for t in found if t.finding is None and t.fault != HONEST]
    seconds = time.perf_counter() - started
    said = f"{len(found) - 1} mutants in {seconds:.1f} s; passed: {', '.join(missed) or 'none'}"
    print(f"{name_of(case)}: {said}", file=sys.stderr)
    return found


def show(facts: dict[str, Any]) -> None:
    """A row for each fault, those that passed, and the totals."""
    rows = facts["trials"]
    print(tabulate(by_fault(rows), headers="keys"))
    passed = [row for row in rows if row["finding"] is None]
    for row in passed:
        by = (
            ""
            if row["change"] is None
            else f", which changes rows by {row['change']:.2g} roundings"
        )
        print(f"passed: {row['fault']} in {row['case']}{by}")
    faults, cases = ({row[name] for row in rows} for name in ("fault", "case"))
    found, large = len(rows) - len(passed), [row for row in rows if changes_more(row)]
    larger = sum(row["finding"] is not None for row in large)
    print(
        f"{len(faults)} faults, {len(cases)} cases: {found} of {len(rows)} mutants found, "
        f"{found / max(1, len(rows)):.2%}. {len(large)} change rows by more than honest rounding: "
        f"{larger} found, {larger / max(1, len(large)):.2%}; of the other {len(rows) - len(large)} "
        f"{found - larger}. {facts['not_reached']} cases not reached"
    )


def changes_more(row: dict[str, Any]) -> bool:
    """Whether a mutant changes rows by more than honest rounding, found or not."""
    return row["change"] is None or row["change"] >= 1


def all_cases(machine: Machine) -> list[Case]:
    """Those of all sweeps, in bf16."""
    cases = list[Case]()
    for family, options in SWEEPS[machine.kind]:
        batches = tuple(batches_of(options["batch"]))
        given = {"dtype": ("bf16",), **options, "batch": batches}
        if family == "prefill-trtllm":
            del given["dtype"]
        asked = FAMILIES[family].asked(FAMILIES[family].options(**given))
        cases += cases_for(asked, machine.kind)
    cases = list(dict.fromkeys(cases))
    random.Random(0).shuffle(cases)  # so a run that ends early has tried all kinds
    return cases


def name_of(case: Case) -> str:
    """The case in a few words."""
    more = {
        case.kv_cache_dtype: case.kv_cache_dtype != "auto",
        f"{case.output_dtype} output": case.output_dtype != "auto",
        case.scope: case.scope != "kernel",
        "window, soft cap, sinks": case.sinks,
        "sparse": case.index_topk is not None,
    }
    layout = [case.layout] if case.layout else []
    words = [case.family, case.backend, str(case.batch), *layout]
    return " ".join(words + [word for word, said in more.items() if said])


def by_fault(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each fault, of how many mutants it made how many were found."""
    counted: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        counted[row["fault"]].append(row["finding"] is not None)
    return [
        {"fault": fault, "mutants": len(each), "found": sum(each)}
        for fault, each in counted.items()
    ]


if __name__ == "__main__":
    main()
