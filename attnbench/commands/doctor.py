"""`attnbench doctor`."""

import click

from attnbench.commands.options import parsed
from attnbench.reporting.doctor import doctor_text
from attnbench.running.device import check_device_name
from attnbench.running.examine import examine


@click.command("doctor")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    callback=parsed(check_device_name),
    metavar="auto|cpu|cuda[:N]",
    help="auto is the first GPU, else the CPU.",
)
def command(device: str) -> None:
    """Show this machine, and which backends can run here.

    A backend that cannot run says why.
    """
    click.echo(doctor_text(examine(device)))
