"""`attnbench traffic`."""

from pathlib import Path

import click

from attnbench.commands import terminal
from attnbench.commands.note import note
from attnbench.commands.output_file import not_read_from, output_file
from attnbench.commands.table import table_command
from attnbench.reporting.traffic import traffic_text
from attnbench.running.slow import SOON, said_if_slow
from attnbench.traffic.options import TrafficCommand
from attnbench.traffic.study_file import study_yaml
from attnbench.traffic.summary import summarize


def _run(options: TrafficCommand, trace: Path) -> None:
    """Find the batches and show them."""
    not_read_from(trace, {"--study": options.study})
    with said_if_slow(lambda: f"reducing {trace.name} to batches", note, SOON):
        summary = summarize(trace, options)
    if options.study:
        with output_file(options.study) as file:
            file.write(study_yaml(summary))
    click.echo(traffic_text(summary, terminal.style(), terminal.width()))


HELP = """Reduce a trace of requests to a few batches that stand for all of its steps.

    TRACE is Azure's or BurstGPT's CSV, Mooncake's JSONL, the result JSON of vllm bench serve, a CSV
    with arrival_s, prompt_tokens, output_tokens and perhaps cached_tokens, or a JSONL log of served
    batches. Requests become steps by a model of vLLM's continuous batching.

    \b
    attnbench traffic requests.csv --model llama3-70b --tp 8
    attnbench traffic requests.csv --rate 20 --study requests.yaml
    attnbench study traffic --trace requests.csv --backend flash triton
    """

_TRACE = click.Argument(
    ["trace"], type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="TRACE"
)
command = table_command("traffic", TrafficCommand, help=HELP, run=_run, params=[_TRACE])
