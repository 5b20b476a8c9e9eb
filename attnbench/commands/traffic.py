"""`attnbench traffic`."""

from dataclasses import dataclass
from pathlib import Path

import click

from attnbench.commands import terminal
from attnbench.commands.output_file import output_file
from attnbench.commands.table import table_command
from attnbench.errors import UsageError
from attnbench.families.options import Common
from attnbench.options.kinds import FilePath, Number, Whole, one_of
from attnbench.options.option import one, shared
from attnbench.reporting.traffic import traffic_text
from attnbench.traffic.server import GPUS, MODEL_WEIGHTS
from attnbench.traffic.study_file import study_yaml
from attnbench.traffic.summary import Traffic, summarize


def _fraction(value: float) -> float:
    if not 0 < value <= 1:
        raise UsageError(f"'{value:g}' is not a number above 0 and at most 1, e.g. 0.7")
    return value


@dataclass(frozen=True, kw_only=True)
class TrafficOptions:
    """The options of `attnbench traffic`."""

    batches: int = one(
        Whole(most=1000),
        "--batches",
        default=24,
        metavar="N",
        heading="What",
        help="Most representative batches.",
    )
    rate: float | None = one(
        Number(),
        "--rate",
        metavar="R",
        heading="What",
        help="Mean arrivals per second; the pattern stays.  [default: the trace's]",
    )
    model: str = one(
        one_of(*MODEL_WEIGHTS),
        "--model",
        default="llama3-8b",
        metavar="NAME",
        heading="Shape",
        help=f"Of {', '.join(MODEL_WEIGHTS)}.",
    )
    tp: int = shared(Common, "tp")
    gpu: str = one(
        one_of(*GPUS),
        "--gpu",
        default="h200",
        metavar="NAME",
        heading="Shape",
        help=f"Of {', '.join(GPUS)}: its roofline, memory and vLLM's defaults for it.",
    )
    max_num_seqs: int | None = one(
        Whole(),
        "--max-num-seqs",
        metavar="N",
        heading="Data",
        help="Most requests that run at once.  [default: vLLM's]",
    )
    max_num_batched_tokens: int | None = one(
        Whole(),
        "--max-num-batched-tokens",
        metavar="N",
        heading="Data",
        help="Most new tokens of a step.  [default: vLLM's]",
    )
    kv_tokens: int | None = one(
        Whole(),
        "--kv-tokens",
        metavar="N",
        heading="Data",
        help="Tokens that the KV cache holds.  [default: what the weights leave]",
    )
    spec_tokens: int = one(
        Whole(least=0, most=64),
        "--spec-tokens",
        default=0,
        metavar="K",
        heading="Data",
        help="Speculative tokens of a decode.",
    )
    acceptance: float | None = one(
        Number(_fraction),
        "--acceptance",
        metavar="A",
        heading="Data",
        help="Probability that a speculative token is accepted if those before it were.",
    )
    seed: int = one(
        Whole(least=0),
        "--seed",
        default=0,
        metavar="N",
        heading="Data",
        help="Decides which speculative tokens are accepted.",
    )
    study: Path | None = one(
        FilePath(),
        "--study",
        metavar="FILE",
        heading="Output",
        help="Write a study of the batches: attnbench study FILE measures them.",
    )


def _run(options: TrafficOptions, trace: Path) -> None:
    """Find the batches and show them."""
    asked = Traffic(
        trace=trace,
        model=options.model,
        tp=options.tp,
        gpu=options.gpu,
        batches=options.batches,
        rate=options.rate,
        max_num_seqs=options.max_num_seqs,
        max_num_batched_tokens=options.max_num_batched_tokens,
        kv_tokens=options.kv_tokens,
        spec_tokens=options.spec_tokens,
        acceptance=options.acceptance or 0.0,
        seed=options.seed,
    )
    summary = summarize(asked)
    if options.study:
        with output_file(options.study) as file:
            file.write(study_yaml(summary.reduction, trace.name, options.model, options.tp))
    click.echo(traffic_text(summary, terminal.style(), terminal.width()))


HELP = """Reduce a trace of requests to a few batches that stand for all of its steps.

    TRACE is Azure's or BurstGPT's CSV, Mooncake's JSONL, the result JSON of vllm bench serve, a CSV
    with arrival_s, prompt_tokens, output_tokens and perhaps cached_tokens, or a JSONL log of served
    batches. Requests become steps by a model of vLLM's continuous batching.

    \b
    attnbench traffic requests.csv --model llama3-70b --tp 8
    attnbench traffic requests.csv --rate 20 --study traffic.yaml
    attnbench study traffic.yaml --backend flash triton
    """

_TRACE = click.Argument(
    ["trace"], type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="TRACE"
)
command = table_command("traffic", TrafficOptions, help=HELP, run=_run, params=[_TRACE])
