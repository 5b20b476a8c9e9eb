"""`attnbench doctor`."""

import sys

import click

from attnbench.commands import terminal
from attnbench.commands.note import note
from attnbench.commands.options import device_option
from attnbench.reporting.doctor import doctor_text
from attnbench.reporting.mutants import mutants_text, right
from attnbench.running.process import WorkerProcess
from attnbench.running.slow import SOON, said_if_slow
from attnbench.running.this_machine import examine


@click.command("doctor")
@device_option
@click.option(
    "--check",
    is_flag=True,
    help="Plant faults in kernels of PyTorch and see that the check finds them; status 1 if not.",
)
def command(device: str, check: bool) -> None:
    """Show what this machine can measure, and why other backends cannot run here.

    The machine, the software and the code under test follow.
    """
    if not check:
        with said_if_slow(lambda: "asking each backend whether it can run here", note, SOON):
            found = examine(device)
        click.echo(doctor_text(found, terminal.width()))
        return
    planting = said_if_slow(
        lambda: "planting faults, which takes half a minute or more", note, SOON
    )
    with planting, WorkerProcess.start(device) as worker:
        trials = worker.plant_faults()
    click.echo(mutants_text(trials))
    sys.exit(0 if all(map(right, trials)) else 1)
