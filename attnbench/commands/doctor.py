"""`attnbench doctor`."""

import sys

import click

from attnbench.commands.options import device_option
from attnbench.reporting.doctor import doctor_text
from attnbench.reporting.mutants import mutants_text, right
from attnbench.running.process import WorkerProcess
from attnbench.running.this_machine import examine


@click.command("doctor")
@device_option
@click.option(
    "--check",
    is_flag=True,
    help="Plant faults in kernels of PyTorch and see that the check finds them; status 1 if not.",
)
def command(device: str, check: bool) -> None:
    """Show this machine, and which backends can run here.

    For a backend that cannot run, the reason is shown.
    """
    if not check:
        click.echo(doctor_text(examine(device)))
        return
    with WorkerProcess.start(device) as worker:
        trials = worker.plant_faults()
    click.echo(mutants_text(trials))
    sys.exit(0 if all(map(right, trials)) else 1)
