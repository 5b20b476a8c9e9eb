"""`attnbench doctor`."""

import click

from attnbench.commands.options import device_option
from attnbench.reporting.doctor import doctor_text
from attnbench.running.this_machine import examine


@click.command("doctor")
@device_option
def command(device: str) -> None:
    """Show this machine, and which backends can run here.

    For a backend that cannot run, the reason is shown.
    """
    click.echo(doctor_text(examine(device)))
