"""Does the check ever fail an honest kernel? python benchmarks/false_alarms.py [--device cpu]

Every backend that runs here, over the shapes of docs/lab/kernels.md and over random ones: one
round's checks with each seed, without timing. Prints the largest error over its tolerance for each
backend and dtype.

`--part 0/4` takes a quarter of the cases, so several processes share the work. Compiling takes the
longest, so each part has all batches of a kernel's shape, and those that compile come last. With
FLASHINFER_DISABLE_JIT=1 kernels that FlashInfer would have to compile are reported on stderr.
"""

import argparse
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import shares
import torch
from tabulate import tabulate

from attnbench.families import FAMILIES
from attnbench.kernels.base import Refused
from attnbench.kernels.check import WrongResult
from attnbench.kernels.mutants.planting import one_round
from attnbench.kernels.mutants.trial import made_ready
from attnbench.kernels.registry import backends
from attnbench.provenance.machine import Machine, read_machine
from attnbench.running.cases import batches_of, cases_for
from attnbench.running.device import resolve_device
from attnbench.specs.batch import Batch, Request
from attnbench.specs.case import Case
from attnbench.specs.shape import MlaShape

SETS = 3
# flex compiles each shape for long, auto runs another backend's case.
LEFT_OUT = ("flex", "auto")
# In the names of backends that compile for each kind of shape: seconds, and minutes.
COMPILED = (("triton",), ("flashinfer", "trtllm", "fa2", "fa3"))
ONE_TOKEN = Batch((Request(1, 1),))
ATTN = (
    "q512 q2k 3q300kv777 8q1kv1k 64q1kv4k q1kv128k 16q4kv1k 16q16kv1k q512kv8k 2q2k_32q1kv1k "
    "q1kv1019 33q1kv1021 4q4kv16395"
)
MLA = "q1k 32q1kv1k 16q1kv512 64q1kv4k 5q1kv1019 16q4kv1k 2q1k_32q1kv1k q1kv64k q100kv900"
WRITES = "q1 q64 q1000 q4096"
FP8, BOTH = {"kv_cache_dtype": ("fp8",)}, {"kv_cache_dtype": ("auto", "fp8")}
GPT_OSS = {"model": "gpt-oss-120b", "window": (128,), "sinks": (True,)}
# Those that docs/lab/kernels.md measures: family, batches and options.
MEASURED: list[tuple[str, str, dict[str, Any]]] = [
    ("attn", ATTN, BOTH),
    ("attn", "8q1kv1019 q2k 32q1kv1k_2q500", GPT_OSS),
    ("attn", "8q1kv1019 q500kv777", {"softcap": (50.0,), "window": (300,)}),
    ("mla", MLA, {"scope": "layer", **BOTH}),
    ("mla", "32q1kv1k 64q1kv4k 5q1kv1019 16q4kv1k", {"tp": 8, "scope": "kernel", **BOTH}),
    ("mla", "q1k q100kv900", {"scope": "kernel"}),
    ("mla", "32q1kv4k q1kv16395 4q4kv5000", {"scope": "layer", "index_topk": (2048,)}),
    ("cache-write", WRITES, BOTH),
    ("cache-write", "q1 q1000", {"kind": "mla", **BOTH}),
    ("prefill-trtllm", "q1k q8k q218_q437_q1k", {"quant": ("bf16", "fp8-qkv", "fp8")}),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--random", type=int, default=200, help="random shapes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    shares.add_options(parser)
    shares.run(parser.parse_args(), measured, show, "checks")


def measured(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The checks of a share of the cases, more after each, as far as the time goes.

    All cases are tried with the first seed, then with the next.
    """
    machine = read_machine(resolve_device(asked.device))
    left, rows = my_cases(all_cases(machine, asked.random), asked), list[dict[str, Any]]()
    facts = {"machine": machine.as_facts(), "checks": rows}
    yield facts | {"not_reached": len(left)}
    for case, seed in shares.in_time(left, asked):
        if (found := checked(case, machine, seed)) is not None:
            rows.append(found)
        yield facts | {"not_reached": len(left)}


def my_cases(cases: list[Case], asked: argparse.Namespace) -> list[tuple[Case, int]]:
    """This process's share, with all seeds: cases that differ in their batch alone stay together.

    What compiles least comes first, then the shorter batches.
    """
    alike = defaultdict[Case, list[Case]](list)
    for case in cases:
        alike[replace(case, batch=ONE_TOKEN)].append(case)
    mine = [case for group in shares.share(list(alike.values()), asked) for case in group]
    mine.sort(key=lambda case: (compiling(case), sum(r.q_len * r.kv_len for r in case.batch)))
    return [(case, seed) for seed in asked.seeds for case in mine]


def checked(case: Case, machine: Machine, seed: int) -> dict[str, Any] | None:
    """The largest error over its tolerance, and the seconds; None where the case cannot run."""
    fault, started = None, time.perf_counter()
    try:
        with torch.inference_mode():
            share = one_round(made_ready(case, machine, SETS, seed), seed)
    except Refused:
        return None
    except WrongResult as wrong:
        share, fault = wrong.share, str(wrong)
    except Exception as error:
        print(f"{described(case)}: {type(error).__name__}: {error}"[:300], file=sys.stderr)
        if "CUDA error" in str(error):  # which the process keeps
            raise
        return None
    dtypes = "/".join([case.dtype, case.query_dtype, case.kv_cache_dtype, case.output_dtype])
    name = f"{case.family} {case.backend}"
    which = {"backend": name, "dtypes": dtypes, "scope": case.scope, "case": described(case)}
    seconds = round(time.perf_counter() - started, 3)
    return which | {"seed": seed, "share": share, "fault": fault, "seconds": seconds}


def show(facts: dict[str, Any]) -> None:
    """The largest share of the tolerance for each backend, the false alarms, and the totals."""
    rows = facts["checks"]
    print(tabulate(by_backend(rows), headers="keys", floatfmt=".2f"))
    wrong = [row for row in rows if row["fault"] is not None]
    for row in wrong:
        print(f"incorrect: {row['case']}, seed {row['seed']}: {row['fault']}")
    print(
        f"{len(rows)} checks of {len({row['case'] for row in rows})} cases, {len(wrong)} "
        f"incorrect; {facts['not_reached']} cases not reached"
    )


def all_cases(machine: Machine, count: int) -> list[Case]:
    """Those of the measurements, on a GPU, then those of so many random shapes."""
    shapes = MEASURED * (machine.kind == "cuda") + [
        drawn(random.Random(seed)) for seed in range(count)
    ]
    found = [case for shape in shapes for case in _cases(machine, *shape)]
    cases = [case for case in dict.fromkeys(found) if not ends_the_process(case, machine)]
    random.Random(0).shuffle(cases)  # so a run that ends early has tried all kinds
    return cases


def ends_the_process(case: Case, machine: Machine) -> bool:
    """Whether FlashMLA's schedule has no part for a request (docs/lab/checks.md, What it found).

    So in vLLM 0.25.1, which takes requests of up to 128 new tokens for decodes of FlashMLA.
    """
    if case.backend != "flashmla" or not case.kv_cache_dtype.startswith("fp8"):
        return False
    assert isinstance(case.shape, MlaShape)
    tokens = max((r.q_len for r in case.batch if r.q_len <= 128), default=0)
    return tokens * case.shape.num_q_heads > 64 * (machine.sm_count or 0)


def compiling(case: Case) -> int:
    """How long a first call may run a compiler: 0 not at all, 1 for seconds, 2 for minutes."""
    if case.family == "cache-write":
        return 0
    found = [any(name in case.backend for name in names) for names in COMPILED]
    return 2 if found[1] else int(found[0])


def _cases(machine: Machine, family: str, batches: str, options: dict[str, Any]) -> list[Case]:
    names = tuple(b.name for b in backends(family) if b.name not in LEFT_OUT)
    given = {"batch": tuple(batches_of(batches)), "backend": names, **options}
    if family != "prefill-trtllm":
        given.setdefault("dtype", ("bf16",))
    return list(cases_for(FAMILIES[family].asked(FAMILIES[family].options(**given)), machine.kind))


def drawn(rng: random.Random) -> tuple[str, str, dict[str, Any]]:
    """A family, a ragged batch and options at random."""
    family = rng.choices(["attn", "mla", "cache-write"], [6, 4, 1])[0]
    kv_dtype = {"kv_cache_dtype": (rng.choice(["auto", "fp8"]),)}
    if family == "cache-write":
        heads = {"num_kv_heads": rng.choice([1, 2, 4, 8]), "head_dim": rng.choice([64, 128, 256])}
        return family, f"q{rng.randint(1, 3000)}", {**heads, **kv_dtype}
    if family == "mla":
        options = {"num_q_heads": rng.choice([8, 16, 32, 64, 128]), **kv_dtype}
        return family, ragged(rng), {**options, "scope": rng.choice(["layer", "layer", "kernel"])}
    kv_heads, options = rng.choice([1, 2, 4, 8]), dict[str, Any]()
    heads = {"num_q_heads": kv_heads * rng.choice([1, 2, 4, 8]), "num_kv_heads": kv_heads}
    if rng.random() < 0.25:
        options["window"] = (rng.choice([17, 128, 500, 4096]),)
    if rng.random() < 0.15:
        options["softcap"] = (rng.choice([20.0, 50.0]),)
    if rng.random() < 0.15:
        options["sinks"] = (True,)
    return (
        family,
        ragged(rng),
        {**heads, "head_dim": rng.choice([64, 128, 128, 256]), **options, **kv_dtype},
    )


def ragged(rng: random.Random) -> str:
    """One to three groups of decodes, extends or prompts of up to 16k keys."""
    groups = []
    for _ in range(rng.randint(1, 3)):
        kv_len = int(2 ** rng.uniform(0, 14))
        q_len = min(kv_len, rng.choice([1, 1, 1, rng.randint(2, 16), rng.randint(17, 600)]))
        count = rng.randint(1, 8) if q_len <= 16 else 1
        groups.append(f"{count}q{q_len}kv{kv_len}")
    return "_".join(groups)


def described(case: Case) -> str:
    """The case in a line."""
    fields = case.canonical()
    shown = [
        f"{name} {fields[name]}" for name in fields if name not in ("family", "backend", "batch")
    ]
    return f"{case.family} {case.backend} {case.batch} ({', '.join(shown)})"


def by_backend(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each backend, dtype and scope the shares of the tolerance, and the mean seconds."""
    shares: dict[tuple[str, ...], list[float]] = defaultdict(list)
    seconds: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in rows:
        key = row["backend"], row["dtypes"], row["scope"]
        shares[key].append(row["share"])
        seconds[key].append(row["seconds"])
    return [
        {
            "backend": backend,
            "dtype/q/kv/out": dtypes,
            "scope": scope,
            "checks": len(each),
            "median": sorted(each)[len(each) // 2],
            "largest": max(each),
            "seconds": sum(seconds[backend, dtypes, scope]) / len(each),
        }
        for (backend, dtypes, scope), each in sorted(shares.items())
    ]


if __name__ == "__main__":
    main()
