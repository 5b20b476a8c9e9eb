"""The options of one device, and of several."""

from dataclasses import dataclass

from attnbench.errors import UsageError
from attnbench.options.kinds import Listed, Parsed, Text
from attnbench.options.option import flag, one, several
from attnbench.running.device import DEVICE_NAME, check_devices


def check_device_name(asked: str) -> str:
    """`asked`, if it is a valid device name; checked without torch."""
    if DEVICE_NAME.fullmatch(asked):
        return asked
    raise UsageError(
        f"--device '{asked}' is not a device; accepted are auto, cpu, cuda and cuda:N, "
        "e.g. --device cuda:0"
    )


@dataclass(frozen=True, kw_only=True)
class OnDevice:
    """The option of the device."""

    device: str = one(
        Parsed(check_device_name),
        "--device",
        default="auto",
        metavar="auto|cpu|cuda[:N]",
        heading="Run",
        help="auto is the first GPU, else the CPU.",
    )


@dataclass(frozen=True, kw_only=True)
class OnDevices:
    """The options of the devices that share a run."""

    device: tuple[str, ...] = several(
        Listed(check_devices),
        "--device",
        default=("auto",),
        metavar="NAME...",
        heading="Run",
        free_on_resume=True,
        help="auto (the first GPU, else the CPU), all, cpu, cuda or cuda:N; several GPUs share the "
        "run.  [default: auto]",
    )
    ray: str | None = one(
        Text(),
        "--ray",
        bare="auto",
        metavar="[ADDRESS]",
        heading="Run",
        free_on_resume=True,
        help="Measure on the GPUs of a Ray cluster: of that address, auto for the running one, or "
        "local for one of this host.",
    )
    gpu: tuple[str, ...] = several(
        Text(),
        "--gpu",
        metavar="NAME...",
        heading="Run",
        free_on_resume=True,
        help="Only on GPUs of these models, e.g. H100; each model measures everything.",
    )
    mixed: bool = flag(
        "--mixed",
        heading="Run",
        free_on_resume=True,
        help="Allow GPUs with unequal software; each version measures everything.",
    )
