"""Runs whose pages hold every kind of plot, and names that would be markup if they were let."""

from dataclasses import replace
from pathlib import Path

from attnbench.db.store import Store
from attnbench.provenance.environment import Component
from attnbench.provenance.machine import Machine
from attnbench.records import Outcome
from attnbench.specs.case import Case
from attnbench.timing.sentinels import Sentinels
from tests.stored_results import (
    ENVIRONMENT,
    H100,
    H200,
    ON_CPU,
    ON_GPU,
    SOURCE,
    attn,
    mla,
    store_run,
    timed,
)

HOSTILE = '</script><script>alert("1")</script><b>bold</b>'
BACKEND = "<i>own</i></script>"  # files of kernels may have such names
REACHED = Sentinels(4.2e12, 4.3e12, 780e12, 0.5e-6, 2.7e-6)
OLDER = replace(ENVIRONMENT, components={"torch": Component("2.10.0")})
LIBRARIES = ("torch", "triton", "vllm", "flashinfer-python", "numpy", "nvidia-ml-py")
OLD_LIBRARIES = replace(ENVIRONMENT, components=dict.fromkeys(LIBRARIES, Component("1.0.0")))
# Cases of a site, and their times.
CASE, OTHER = attn("8q1kv1k", dtype="bf16"), attn("q512", "naive", dtype="bf16")
FAST, SLOW = 1e-3, 1.2e-3
SIZES, LENGTHS = (1, 2, 4, 8), ("1k", "2k", "4k")


def decodes(factor: float = 1.0) -> dict[Case, list[Outcome]]:
    """Two backends over batch size and kv_len; the hostile one wins where the batch is large."""
    results = {}
    for size in SIZES:
        for at, length in enumerate(LENGTHS, 1):
            base = size * at * 10e-6 * factor
            spec = f"{size}q1kv{length}"
            sdpa, own = attn(spec, dtype="bf16"), attn(spec, BACKEND, dtype="bf16")
            results[sdpa] = timed(sdpa, base, base * 1.001, base * 0.999)
            faster = 0.8 if size > 2 else 1.3
            results[own] = timed(own, *(base * faster * wobble for wobble in (1, 1.001, 0.999)))
    return results


def thresholds() -> dict[Case, list[Outcome]]:
    """One backend down both paths: decode is faster up to q_len 4, prefill from 16."""
    results = {}
    for q_len in (1, 4, 16, 64):
        for threshold in (1, 64):
            case = mla(f"q{q_len}kv1k", threshold=threshold)
            decode = q_len <= threshold
            seconds = q_len * 5e-3 if decode else 50e-3
            rounds = timed(case, *(seconds * wobble for wobble in (1, 1.001, 0.999)))
            results[case] = [
                replace(each, decode_requests=int(decode), prefill_requests=int(not decode))
                for each in rounds
            ]
    return results


def store_pages(path: Path) -> None:
    """Runs 1 "base", 2, of a hostile label, a newer torch and 10 % slower, and 3, thresholds."""
    with Store.open(path) as store:
        for label, factor in (("base", 1.0), (HOSTILE, 1.1)):
            ran = OLDER if label == "base" else ENVIRONMENT
            run = store_run(store, decodes(factor), label=label, machine=H200, environment=ran)
            store.add_sentinels(run, "start", REACHED.as_facts())
        store_run(store, thresholds(), label="paths", machine=H200)


STUDY = """\
question: Which is best?
family: attn
answer: {winner: {}}
sweep:
- {batch_size: [1, 2, 4, 8], q_len: 1, kv_len: [1k, 2k, 4k]}
"""


def store_study(path: Path) -> None:
    """A run of a study on an H200, and a run of its cases on an H100."""
    with Store.open(path) as store:
        run = store_run(store, decodes(), label="study", machine=H200)
        facts = {"name": "mine", "text": STUDY, "left_out": {}}
        store.replan(run, {"study": facts, "methods": [ON_CPU.as_facts()]})
        store_run(store, decodes(1.2), label="other", machine=H100)


def store_commit(path: Path, letter: str, time: float, machine: Machine = H200) -> None:
    """A run of a commit: CASE takes this time, OTHER always the same; libraries are new from c."""
    source = replace(SOURCE, commit=letter * 40, subject=f"Commit {letter}")
    rounds = timed(CASE, time, 1.001 * time, 0.999 * time)
    results = {CASE: rounds, OTHER: timed(OTHER, FAST, FAST, FAST)}
    ran = OLD_LIBRARIES if letter < "c" else ENVIRONMENT
    with Store.open(path) as store:
        store_run(store, results, machine=machine, method=ON_GPU, source=source, environment=ran)


def store_commits(path: Path) -> None:
    """Four commits on an H200, CASE 20 % slower from the third on, and the last on an H100."""
    for letter, time in zip("abcd", (FAST, FAST, SLOW, SLOW), strict=True):
        store_commit(path, letter, time)
    store_commit(path, "d", 1.1 * SLOW, H100)
