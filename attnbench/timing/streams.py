"""The state in which a process stays once it has used many streams."""

from functools import cache

STREAMS = 16  # eight are enough for graphs; single launches change again before sixteen


@cache
def use_streams(device: str) -> None:
    """Launch a kernel on each of many streams, once per process.

    From then on each kernel of a graph takes longer, by 0.18 to 0.35 us on an H200, as it does once
    the process has made four graphs. Without this, the first times of a worker would be lower than
    later ones of the same kernel, by 5 % for a short decode.
    """
    import torch

    with torch.inference_mode(False):
        number = torch.zeros(1, device=device)
    for _ in range(STREAMS):
        with torch.cuda.stream(torch.cuda.Stream(device)):
            number.zero_()
    torch.cuda.synchronize(device)
