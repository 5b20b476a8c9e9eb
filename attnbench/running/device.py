"""Resolving `--device`."""

import re

from attnbench.errors import UsageError

DEVICE_NAME = re.compile(r"auto|cpu|cuda(:[0-9]+)?")


def resolve_device(asked: str) -> str:
    """`cpu` or `cuda:N`; auto is the first GPU that torch can use, else the CPU.

    Raises UsageError if the requested GPU does not exist.
    """
    import torch

    if asked == "cpu" or (asked == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if torch.version.hip is not None:  # torch calls AMD's GPUs cuda too
        raise UsageError(
            f"--device {asked}: torch {torch.__version__} is built for ROCm, and attnbench "
            "measures NVIDIA GPUs and CPUs; accepted here is cpu, e.g. --device cpu"
        )
    if not torch.cuda.is_available():
        built = "built without CUDA" if torch.version.cuda is None else "and finds no driver or GPU"
        raise UsageError(
            f"--device {asked}: torch {torch.__version__} is {built}; accepted here is cpu, "
            "e.g. --device cpu"
        )
    index = int(asked.partition(":")[2] or 0)
    if index >= torch.cuda.device_count():
        known = ", ".join(f"cuda:{number}" for number in range(torch.cuda.device_count()))
        raise UsageError(
            f"--device {asked}: there is no such GPU here; accepted are {known} and cpu, "
            "e.g. --device cuda:0"
        )
    torch.cuda.set_device(index)
    return f"cuda:{index}"
