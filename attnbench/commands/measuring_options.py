"""How to measure: one set of options for every family."""

from pathlib import Path

import click

from attnbench.commands import options

measuring_options = options.all_of(
    [
        options.device_option,
        click.option(
            "--mode",
            "modes",
            multiple=True,
            type=options.ChoiceWithAliases(
                ["cudagraph", "eager", "kernel"], {"no_graph": "eager", "no-graph": "eager"}
            ),
            metavar="cudagraph|eager|kernel...",
            help="Time replays of a CUDA graph, single launches (no_graph is the same), or the "
            "kernels themselves by CUPTI.  [default: cudagraph]",
        ),
        click.option(
            "--verify-timer", is_flag=True, help="Also time the kernels themselves by CUPTI."
        ),
        click.option(
            "--eager-fallback",
            is_flag=True,
            help="Time single launches of what no graph can capture, and label it.",
        ),
        click.option(
            "--regime",
            type=click.Choice(["burst", "sustained"]),
            default="burst",
            show_default=True,
            help="sustained puts two seconds of load first, for heat and power to settle.",
        ),
        click.option(
            "--cache",
            type=click.Choice(["cold", "hot", "both"]),
            default="cold",
            show_default=True,
            help="cold rotates over working sets larger than the cache; hot repeats one.",
        ),
        options.rounds_option,
        click.option(
            "--isolate",
            type=click.Choice(["none", "rounds"]),
            default="none",
            show_default=True,
            help="rounds: a fresh worker process for each round.",
        ),
        options.samples_option,
        click.option(
            "--warmup-iters",
            "--warmup",
            "warmup_calls",
            type=options.positive,
            metavar="N",
            help="At least N calls first.  [default: until times are steady]",
        ),
        click.option(
            "--num-layers",
            type=options.positive,
            metavar="N",
            help="Working sets that calls rotate over, as layers do.  [default: enough to be cold]",
        ),
        options.timeout_option,
        click.option(
            "--prepare-timeout",
            type=float,
            default=600.0,
            show_default=True,
            callback=options.parsed(options.positive_seconds),
            metavar="SECONDS",
            help="For preparing it and its first call, which may compile.",
        ),
        options.seed_option,
        click.option(
            "--profile-memory",
            is_flag=True,
            help="Also measure what a call allocates beside inputs and outputs (GPU only).",
        ),
        click.option(
            "--host", is_flag=True, help="Also time enqueueing and planning on the host (GPU only)."
        ),
        click.option("--label", help="A name for this run, for report and diff."),
        click.option(
            "--source",
            type=click.Path(path_type=Path, exists=True, file_okay=False),
            help="Git tree of the code under test.  [default: an editable vLLM or FlashInfer, "
            "else the working directory]",
        ),
        options.db_option,
        click.option(
            "--resume",
            is_flag=False,
            flag_value="latest",
            metavar="[RUN]",
            help="Continue an interrupted run: the latest, or the one of that number.",
        ),
        click.option(
            "--dry-run", is_flag=True, help="List the cases, memory and time; measure nothing."
        ),
        options.wait_option,
        click.option(
            "--output-csv",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Also write every round to this file.",
        ),
        click.option(
            "--output-json",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Also write every round to this file.",
        ),
    ]
)
