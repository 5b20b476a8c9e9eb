"""The prefix cache, as vLLM's pool of blocks keeps it: the least recently used block goes first."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from attnbench.traffic.limits import BLOCK
from attnbench.traffic.requests import HASHED, Requests

_OWN = "own"
_Key = tuple[int | str, int]  # a hash id and its blocks, or the request that owns them


class _Part(NamedTuple):
    """Consecutive full blocks: of a prompt under their hash id, or a request's own ones."""

    key: _Key
    size: int


class PrefixCache:
    """The full blocks that admitted requests share, and those that nobody holds.

    The latter are in a queue: freed to its end, the last block of a request first, and cached until
    an allocation takes them from its front. Blocks that are not full are taken before all others.
    """

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._free: OrderedDict[_Key, int] = OrderedDict()
        self._num_free = 0
        self._holders: dict[_Key, int] = {}
        self._held: dict[int, list[_Part]] = {}  # hashed parts by request, as in its prompt
        self.shared = 0  # blocks, once for every holder but one

    def shrink(self, free: int) -> None:
        """So many blocks are free now."""
        while self._num_free > free:
            key, size = next(iter(self._free.items()))
            taken = min(size, self._num_free - free)
            self._num_free -= taken
            if taken < size:
                self._free[key] = size - taken
            else:
                del self._free[key]

    def held(self, request: int) -> int:
        """Blocks of the request's prefix that others hold."""
        count = 0
        for part in self._prompt(request):
            if part.key not in self._holders:
                break
            count += part.size
        return count

    def admit(self, request: int, goal: int) -> int:
        """Give a request what is cached of its first `goal` tokens; returns those tokens."""
        most, found, is_hit = (goal - 1) // BLOCK, 0, True
        self._held[request] = parts = []
        for part in self._prompt(request):
            is_shared = part.key in self._holders
            left = part.size if is_shared else self._take(part)
            if is_hit:
                found += left
                self.shared += part.size * is_shared
                is_hit = left == part.size
            elif is_shared:
                continue  # a second copy, which nobody finds
            self._holders[part.key] = self._holders.get(part.key, 0) + 1
            parts.append(part)
        own = self._take(_Part((_OWN, request), goal))
        return min(found + own * is_hit, most) * BLOCK

    def release(self, request: int, tokens: int) -> None:
        """Free the blocks of a request with so many computed tokens."""
        left, queue = tokens // BLOCK, []
        for part in self._held.pop(request):
            others = self._holders[part.key] - 1
            if others:
                self._holders[part.key] = others
                self.shared -= part.size
            else:
                del self._holders[part.key]
                queue.append(_Part(part.key, min(part.size, left)))
            left -= min(part.size, left)
        queue.append(_Part((_OWN, request), left))
        for part in reversed(queue):
            if part.size:
                self._free[part.key] = part.size
                self._num_free += part.size

    def _take(self, part: _Part) -> int:
        """Take what is free of a part out of the queue; returns the blocks."""
        found = self._free.pop(part.key, 0)
        self._num_free -= found
        return min(found, part.size)

    def _prompt(self, request: int) -> Iterator[_Part]:
        blocks = int(self._requests.prompt[request]) // BLOCK
        for key in self._requests.hash_ids[request] if self._requests.hash_ids else ():
            size = min(blocks, HASHED // BLOCK)
            if not size:
                return
            yield _Part((key, size), size)
            blocks -= size
