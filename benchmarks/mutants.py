"""Does the check find wrong kernels? python benchmarks/mutants.py [--device cpu]

Plants every fault of `attnbench/kernels/mutants` in honest kernels, one at a time, and gives each
mutant one round's checks: before timing, of all sets, and with new inputs; nothing is timed.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from attnbench.families import FAMILIES
from attnbench.kernels.base import Refused
from attnbench.kernels.check import WrongResult
from attnbench.kernels.mutants.trial import Trial, made_ready, trials
from attnbench.provenance.machine import Machine, read_machine
from attnbench.running.cases import batches_of, cases_for
from attnbench.running.device import resolve_device
from attnbench.specs.case import Case

SETS = 3
# Contexts of 1k, 16k and 128k keys that no page divides: decodes, extends and prompts.
DECODES = "8q1kv1k 4q1kv16395 q1kv131067 64q1kv1019"
EXTENDS = "4q4kv1k q16kv16395 2q256kv1019 q64kv131067"
PROMPTS = "q1k 2q300_6q1kv777"
LATENT = "8q1kv1019 4q1kv16395 q1kv131067 4q4kv1019"
ATTENTION = ("sdpa", "naive", "flash", "triton", "flashinfer")
IN_FP8 = ("flash", "triton", "flashinfer", "flashinfer-fa2")
WRITES = ("cuda", "triton", "flashinfer")
FEATURES = {"window": (500,), "softcap": (30.0,), "sinks": (True,)}

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
    parser.add_argument("--output", type=Path, help="write every trial here, as JSON")
    asked = parser.parse_args()
    machine = read_machine(resolve_device(asked.device))
    found = list(all_trials(machine, asked.seed))
    print(tabulate(by_fault(found), headers="keys"))
    passed = [trial for trial in found if trial.finding is None]
    for trial in passed:
        print(f"passed: {trial.fault}, {name_of(trial.case)}")
    print(
        f"{len({t.fault for t in found})} faults in {len({t.case for t in found})} cases: "
        f"{len(found) - len(passed)} of {len(found)} mutants found, "
        f"{1 - len(passed) / len(found):.2%}"
    )
    if asked.output is not None:
        rows = [{"case": name_of(t.case), "fault": t.fault, "finding": t.finding} for t in found]
        facts = {"machine": machine.as_facts(), "seed": asked.seed, "trials": rows}
        asked.output.write_text(json.dumps(facts, indent=1))


def all_trials(machine: Machine, seed: int) -> Iterator[Trial]:
    """Every trial; a case that cannot run or fails as it is says so on stderr."""
    for case in all_cases(machine):
        started = time.perf_counter()
        try:
            with torch.inference_mode():
                found = list(trials(case, made_ready(case, machine, SETS, seed), seed))
        except (Refused, WrongResult) as why:
            print(f"{name_of(case)}: {type(why).__name__}: {why}", file=sys.stderr)
            continue
        seconds = time.perf_counter() - started
        missed = [trial.fault for trial in found if trial.finding is None]
        said = f"{len(found)} mutants in {seconds:.1f} s; passed: {', '.join(missed) or 'none'}"
        print(f"{name_of(case)}: {said}", file=sys.stderr)
        yield from found


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
    return list(dict.fromkeys(cases))


def name_of(case: Case) -> str:
    """The case in a few words."""
    more = {
        case.kv_cache_dtype: case.kv_cache_dtype != "auto",
        case.scope: case.scope != "kernel",
        "window, soft cap, sinks": case.sinks,
        "sparse": case.index_topk is not None,
    }
    words = [case.family, case.backend, str(case.batch)]
    return " ".join(words + [word for word, said in more.items() if said])


def by_fault(found: list[Trial]) -> list[dict[str, Any]]:
    """For each fault, of how many mutants it made how many were found."""
    counted: dict[str, list[bool]] = defaultdict(list)
    for trial in found:
        counted[trial.fault].append(trial.finding is not None)
    return [
        {"fault": fault, "mutants": len(each), "found": sum(each)}
        for fault, each in counted.items()
    ]


if __name__ == "__main__":
    main()
