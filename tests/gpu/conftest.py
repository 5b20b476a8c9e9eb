"""What tests on a GPU share: the end of the process group that vLLM's layers have started."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _process_group_ended() -> Iterator[None]:
    """PyTorch complains at the interpreter's exit of a group that nobody ended.

    A worker needs no such end, as it is killed.
    """
    yield
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
