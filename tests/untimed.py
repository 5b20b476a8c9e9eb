"""What a worker does with a prepared case, the timing apart."""

from attnbench.kernels.base import Prepared
from attnbench.kernels.check import check, check_again


def untimed(ready: Prepared) -> None:
    """Right before timing, and right again after every set was launched; else WrongResult."""
    import torch

    with torch.inference_mode():
        ready.calls[0]()
        check(ready, seed=1)
        for index in range(len(ready.calls)):
            ready.poison(index)
        for call in ready.calls:
            call()
        check_again(ready, launched=len(ready.calls), seed=2)
