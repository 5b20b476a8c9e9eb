"""Reading and resolving `--device`."""

import re
from collections.abc import Sequence

from attnbench.errors import UsageError

ALL = "all"
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


def check_devices(texts: Sequence[str], _: object = None) -> tuple[str, ...]:
    """The devices asked for; UsageError for a text, or a mix, that cannot share a run."""
    for text in texts:
        if text != ALL and not DEVICE_NAME.fullmatch(text):
            raise UsageError(
                f"--device '{text}' is not a device; accepted are auto, all, cpu, cuda and cuda:N, "
                "or several of these, e.g. --device cuda:0 cuda:1"
            )
    names = [name.replace("cuda", "cuda:0") if name == "cuda" else name for name in texts]
    if len(names) > 1:
        _require_shareable(names)
    return tuple(texts)


def _require_shareable(names: Sequence[str]) -> None:
    joined = " ".join(names)
    kinds = {name.partition(":")[0] for name in names}
    if not kinds <= {"cuda"} and not kinds <= {"cpu"}:
        raise UsageError(
            f"--device {joined}: only GPUs share a run with GPUs; give GPUs, or one of auto, all "
            "and cpu, e.g. --device cuda:0 cuda:1"
        )
    if repeated := next((name for name in names if name != "cpu" and names.count(name) > 1), None):
        raise UsageError(
            f"--device {joined} names {repeated} twice; name each GPU once, e.g. "
            "--device cuda:0 cuda:1"
        )
