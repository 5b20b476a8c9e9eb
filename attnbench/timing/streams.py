"""Brings a process into the state that it stays in: that of one which has used many streams."""

from functools import cache

STREAMS = 16  # eight are enough for graphs; single launches change once more before sixteen


@cache
def use_streams(device: str) -> None:
    """Launch a kernel on each of many streams, once a process.

    From then on each kernel of a graph takes longer, by 0.18 to 0.35 us on an H200, as it does once
    the process has made four graphs, and a server makes one for each batch size. Without this, what
    a worker times first would be faster than the same kernel after it, a short decode by 5 %.
    """
    import torch

    with torch.inference_mode(False):
        number = torch.zeros(1, device=device)
    for _ in range(STREAMS):
        with torch.cuda.stream(torch.cuda.Stream(device)):
            number.zero_()
    torch.cuda.synchronize(device)
