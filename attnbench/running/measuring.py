"""Options of measuring, shared by the commands of all families."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from attnbench.errors import UsageError
from attnbench.options.kinds import FilePath, Folder, Number, Parsed, Text, Whole, one_of
from attnbench.options.option import flag, one, several
from attnbench.run_label import parse_label
from attnbench.running.device_options import OnDevices
from attnbench.timing.method import Between, CacheAsked, Isolation, Regime, Timer

# Seconds of a time limit; the system's own calls wait no longer than some 1e9.
SHORTEST, LONGEST = 1e-3, 1e6


def positive_seconds(value: float) -> float:
    """`value`, if it can be a time limit."""
    if SHORTEST <= value <= LONGEST:
        return value
    raise UsageError(
        f"'{value:g}' is not a time limit; expected seconds from {SHORTEST:g} to {LONGEST:g}, "
        "e.g. 60"
    )


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The option of the database."""

    db: str = one(
        Parsed(str),  # an empty one has an error of its own
        "--db",
        default="attnbench.db",
        variable="ATTNBENCH_DB",
        metavar="FILE|URL",
        heading="Output",
        free_on_resume=True,
        help="Database of results; ATTNBENCH_DB sets it too.",
    )


@dataclass(frozen=True, kw_only=True)
class Sampling(Stored):
    """Rounds, samples and limits of any command that measures."""

    rounds: int = one(
        Whole(),
        "--rounds",
        default=3,
        metavar="N",
        heading="Timing",
        help="Fresh preparations of each case; verdicts are based on them.",
    )
    samples: int | None = one(
        Whole(),
        "--repeats",
        "--iters",
        "--trials",
        metavar="N",
        heading="Timing",
        help="Exactly N samples per round.  [default: until the median is known to 0.25 %]",
    )
    timeout: float = one(
        Number(positive_seconds),
        "--timeout",
        default=60,
        metavar="SECONDS",
        heading="Run",
        help="Time limit for checking and timing one round of a case.",
    )
    seed: int = one(
        Whole(least=0, most=2**62),
        "--seed",
        default=0,
        metavar="N",
        heading="Data",
        help="Seed of the inputs of the first round; the others count up.",
    )
    wait: bool = flag(
        "--wait",
        heading="Run",
        free_on_resume=True,
        help="Queue behind another attnbench on the same device.",
    )


@dataclass(frozen=True, kw_only=True)
class Measuring(Sampling, OnDevices):
    """How a family's cases are measured, stored and written."""

    timer: tuple[Timer, ...] = several(
        one_of("cudagraph", "eager", "kernel", aliases={"no_graph": "eager", "no-graph": "eager"}),
        "--mode",
        metavar="cudagraph|eager|kernel...",
        heading="Timing",
        help="Time replays of a CUDA graph, single launches (eager or no_graph), or the kernels "
        "themselves by CUPTI.  [default: cudagraph]",
    )
    verify_timer: bool = flag(
        "--verify-timer", heading="Timing", help="Also time the kernels themselves by CUPTI."
    )
    eager_fallback: bool = flag(
        "--eager-fallback",
        heading="Timing",
        help="If a graph cannot be captured, time single launches, with a label.",
    )
    cache: CacheAsked | Literal["both"] = one(
        one_of("cold", "hot", "both"),
        "--cache",
        default="cold",
        heading="Timing",
        help="cold rotates over working sets larger than the cache; hot repeats one.",
    )
    num_layers: int | None = one(
        Whole(),
        "--num-layers",
        metavar="N",
        heading="Timing",
        help="Working sets that calls rotate over, like layers.  [default: enough to be cold]",
    )
    regime: Regime = one(
        one_of(*get_args(Regime)),
        "--regime",
        default="burst",
        heading="Timing",
        help="sustained: a second of load first, so the power settles; burst: none; auto: "
        "sustained where a call has at least 25 us of work for the GPU.",
    )
    between: tuple[Between, ...] = several(
        one_of(*get_args(Between)),
        "--between",
        metavar="auto|nothing|layer...",
        heading="Timing",
        help="layer: run a decoder layer's matrix products between the calls of a graph, untimed, "
        "so code is as cold as in a server; nothing: run calls back to back; auto: layer for "
        "decodes of attn and mla.  [default: auto]",
    )
    isolate: Isolation = one(
        one_of(*get_args(Isolation)),
        "--isolate",
        default="none",
        heading="Timing",
        help="rounds: a fresh worker process for each round.",
    )
    warmup_calls: int | None = one(
        Whole(),
        "--warmup-iters",
        "--warmup",
        metavar="N",
        heading="Timing",
        help="Warm up with at least N calls.  [default: until times are steady]",
    )
    profile_memory: bool = flag(
        "--profile-memory",
        heading="Timing",
        help="Also measure the memory a call allocates besides inputs and outputs (GPU only).",
    )
    host: bool = flag(
        "--host",
        heading="Timing",
        help="Also time enqueueing and planning on the host (GPU only).",
    )
    prepare_timeout: float = one(
        Number(positive_seconds),
        "--prepare-timeout",
        default=600,
        metavar="SECONDS",
        heading="Run",
        help="Time limit for preparing a case and its first call, which may compile.",
    )
    source: Path | None = one(
        Folder(),
        "--source",
        heading="Run",
        help="Git tree of the code under test.  [default: an editable vLLM or FlashInfer, "
        "else the working directory]",
    )
    label: str | None = one(
        Parsed(parse_label),
        "--label",
        heading="Run",
        of_one_run=True,
        help="A name for this run, for report and diff.",
    )
    resume: str | None = one(
        Text(),
        "--resume",
        bare="latest",
        metavar="[RUN]",
        heading="Run",
        free_on_resume=True,
        help="Continue an interrupted run: the latest, or the one of that number.",
    )
    dry_run: bool = flag(
        "--dry-run",
        heading="Run",
        free_on_resume=True,
        help="List the cases, memory and time; measure nothing.",
    )
    output_csv: Path | None = one(
        FilePath(),
        "--output-csv",
        heading="Output",
        of_one_run=True,
        free_on_resume=True,
        help="Also write every round to this file.",
    )
    output_json: Path | None = one(
        FilePath(),
        "--output-json",
        heading="Output",
        of_one_run=True,
        free_on_resume=True,
        help="Also write every round to this file.",
    )
