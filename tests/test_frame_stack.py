"""A worker's calls go deep and back without mapping memory for their frames each time."""

from resource import RUSAGE_THREAD, getrusage

from attnbench.running.frame_stack import with_room

DEPTH = 300  # frames, as imports go


def back_and_forth(depth: int) -> None:
    """From each depth, calls one frame deeper."""
    for _ in range(100):
        leaf()
    if depth:
        back_and_forth(depth - 1)


def leaf() -> None:
    """A frame."""


def page_faults() -> int:
    """Of this thread: memory that is mapped has one at its first use."""
    return getrusage(RUSAGE_THREAD).ru_minflt


def faults_of_calls() -> int:
    """Page faults of calls that go deep and back."""
    before = page_faults()
    back_and_forth(DEPTH)
    return page_faults() - before


def test_calls_with_room_map_no_memory() -> None:
    found: list[int] = []
    with_room(lambda: found.append(faults_of_calls()))
    assert found[0] < faults_of_calls() / 5
