"""The blocks of preempted requests that the prefix cache still holds, as vLLM's pool keeps them."""

from attnbench.traffic.limits import BLOCK


class FreedBlocks:
    """A queue of free blocks.

    Full blocks are freed to its end, the last one of a request first, and stay cached until an
    allocation takes them from its front. Blocks that are not full are taken before all others.
    Places in the queue are numbers of full blocks freed since the start, after `capacity` blocks
    that were free then.
    """

    def __init__(self, capacity: int) -> None:
        self._end = capacity  # the place of the block to be freed next
        self._front = 0  # the place of the block to be taken next
        self._kept: dict[int, tuple[int, int]] = {}  # first place and number, by request

    def free(self, tokens: int) -> None:
        """A request with so many computed tokens is done."""
        self._end += tokens // BLOCK

    def keep(self, request: int, tokens: int) -> None:
        """A request with so many computed tokens is preempted."""
        self._kept[request] = self._end, tokens // BLOCK
        self._end += tokens // BLOCK

    def allocate(self, free: int) -> None:
        """So many blocks are free now."""
        if self._kept:
            self._front = max(self._front, self._end - free)

    def find(self, request: int) -> int:
        """Take what is left of a request out of the queue; returns its tokens.

        It is the one preempted last, so that the places of the others stay.
        """
        if request not in self._kept:
            return 0
        place, count = self._kept.pop(request)
        left = min(count, max(0, place + count - self._front))
        self._end -= left
        return left * BLOCK
