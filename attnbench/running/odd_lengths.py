"""Lengths that end within a page, for cases whose requests all end at page borders.

Round lengths leave no tail behind a request's last token, so a kernel that reads one would pass; so
would one that is wrong about a last page with a single token, or takes one length for all requests,
or, beside long requests, one that takes what fills up a short selection of keys for keys.
"""

from collections.abc import Iterator
from dataclasses import replace

from attnbench.kernels.base import Backend, Refused, Setting
from attnbench.kernels.check import WrongResult, check
from attnbench.specs.batch import Batch, Request
from attnbench.specs.case import Case

SHORTER = 3  # tokens
USUAL_PAGE = 16  # where the backend chooses
TILE = 128  # keys; a multiple of usual pages


def odd_lengths(case: Case) -> Case | None:
    """The case with shorter requests; None if one already ends within a page, or is too short."""
    page = case.block_size or USUAL_PAGE
    round_ = all(request.kv_len % page == 0 for request in case.batch)
    if case.family == "cache-write" or not round_ or page <= SHORTER:
        return None
    most, groups = case.index_topk or case.batch.max_kv_len, case.batch.groups()
    shorter = [each for group in groups for each in _shortened(*group, page, most)]
    return replace(case, batch=Batch(tuple(shorter)))


def check_odd_lengths(
    case: Case, backend: Backend, device: str, seed: int, *, graphs: bool
) -> None:
    """Check the case with odd lengths too, in one working set.

    Raises WrongResult with that batch; what is refused for odd lengths alone is not checked so.
    """
    odd = odd_lengths(case)
    if odd is None:
        return
    try:
        check(backend.prepare(odd, Setting(device, 1, seed, graphs)), seed)
    except Refused:
        return
    except WrongResult as wrong:
        raise WrongResult(f"with lengths that end within a page ({odd.batch}): {wrong}") from None


def _shortened(count: int, request: Request, page: int, most: int) -> Iterator[Request]:
    """Equal requests, of which the first half ends with a page, or tile, of a single token.

    Of a prompt without context the new tokens get fewer, of others the context; the first half of
    these have fewer than `most` keys.
    """
    longest = min(request.kv_len, most) if request.context_len else request.kv_len
    size = TILE if longest > TILE else page
    single = (longest - 2) // size * size + 1
    # Neither a prompt nor an extend may turn into the other, or into a decode.
    can_be = single > (request.q_len if request.context_len else 1)
    first = -(-count // 2) if can_be else 0
    for times, kv_len in (first, single), (count - first, request.kv_len - SHORTER):
        if times:
            yield from [Request(min(request.q_len, kv_len), kv_len)] * times
