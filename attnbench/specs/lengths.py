"""Batches of prompts by their number and longest length."""

import random
from collections.abc import Iterable
from itertools import product

from attnbench.errors import UsageError
from attnbench.specs.batch import Batch, Request

MAX_PROMPTS = 50_000  # of all batches of a command; each has a length of its own
DEFAULT_BATCH_SIZES, DEFAULT_MAX_LENS = (1, 8), (1024, 8192)


def prompt_batches(
    batch_sizes: Iterable[int], max_lens: Iterable[int], lengths: str, seed: int
) -> list[Batch]:
    """A batch of prompts, without context, for each size and longest length.

    `fixed`: all have the longest length. `random`: one has, and the others are uniform from 1, as
    in vLLM's benchmark of TRT-LLM; drawn from `seed` again for each batch, so a batch does
    not depend on the others. Raises UsageError for over MAX_PROMPTS requests.
    """
    sizes, lens = list(batch_sizes), list(max_lens)
    if (total := sum(sizes) * len(lens)) > MAX_PROMPTS:
        raise UsageError(
            f"{len(sizes)} batch sizes with {len(lens)} lengths each are {total} requests; up to "
            f"{MAX_PROMPTS} are accepted, e.g. --batch-sizes 1..64:x2"
        )
    return [
        Batch(tuple(Request(n, n) for n in _lengths(size, longest, lengths, seed)))
        for size, longest in product(sizes, lens)
    ]


def _lengths(size: int, longest: int, lengths: str, seed: int) -> list[int]:
    if lengths == "fixed":
        return [longest] * size
    draw = random.Random(f"{seed} {size} {longest}")
    return sorted([*(draw.randint(1, longest) for _ in range(size - 1)), longest])
