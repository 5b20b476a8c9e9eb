"""Inputs as in production, with hostile values wherever a kernel must not read.

Random normal data from a seed; pages scattered by a seeded permutation, disjoint between requests
and between working sets; NaN in every page that no request owns and, where the backend tolerates
it, behind the last token of a request.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnbench.kernels.groups import Group, Keys, Lengths, groups_of
from attnbench.specs.batch import Batch
from attnbench.specs.case import Case
from attnbench.specs.cost import cached_row_bytes
from attnbench.specs.dtypes import TORCH_NAMES

if TYPE_CHECKING:
    import torch

STRANGERS = 8  # minimum number of pages that no request owns
REDRAWN_ELEMENTS = 2**26  # in one step
UNUSED_ENTRY = 2**31 - 1  # a page index that must not be followed
SIGN_BIT = 0x80  # of a byte in fp8
# Fills a page's tail where a kernel multiplies whole pages: finite, but it ruins any result.
LARGE = 3e4


def torch_dtype(name: str) -> "torch.dtype":
    """The torch dtype for our name."""
    import torch

    found: torch.dtype = getattr(torch, TORCH_NAMES[name])
    return found


def seeded(device: str, seed: int) -> "torch.Generator":
    """A generator on this device; equal seeds give equal inputs."""
    import torch

    return torch.Generator(device=device).manual_seed(seed)


def digest_of(*tensors: "torch.Tensor | None") -> "torch.Tensor":
    """The sum of each tensor's bits, in words as wide as its elements: int64 [n]."""
    import torch

    words = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    held = [each for each in tensors if each is not None]
    return torch.stack([each.view(words[each.dtype.itemsize]).sum() for each in held])


def normal(
    shape: tuple[int, ...], dtype: "torch.dtype", generator: "torch.Generator"
) -> "torch.Tensor":
    """Standard normal values on the generator's device."""
    import torch

    return torch.randn(shape, dtype=dtype, device=generator.device, generator=generator)


def redraw(tensors: "torch.Tensor", dtype: "torch.dtype", seed: int, scale: float = 1.0) -> None:
    """Overwrite [sets, ...] in place with normal values drawn in `dtype` and divided by `scale`."""
    generator = seeded(str(tensors.device), seed)
    for part in tensors.split(max(1, REDRAWN_ELEMENTS // max(1, tensors[0].numel()))):
        if part.dtype == dtype and scale == 1.0:
            part.normal_(generator=generator)
        else:
            part.copy_(normal(tuple(part.shape), dtype, generator) / scale)


def signs(shape: tuple[int, ...], device: str, seed: int) -> "torch.Tensor":
    """1 or -1 at random: int8."""
    import torch

    drawn = torch.randint(2, shape, generator=seeded(device, seed), device=device)
    return (2 * drawn - 1).to(torch.int8)


def turn(stored: "torch.Tensor", by: "torch.Tensor") -> None:
    """Change the sign in place where `by` is -1; what has one byte is fp8, whatever its dtype."""
    if stored.dtype.itemsize == 1:
        raw(stored).bitwise_xor_((SIGN_BIT * (by < 0)).to(raw(stored).dtype))
    else:
        stored.mul_(by)


def cached(
    shape: tuple[int, ...], dtype: "torch.dtype", generator: "torch.Generator", kv_data: str
) -> "torch.Tensor":
    """The contents of a cache: standard normal values, or zeros if `kv_data` asks for them."""
    import torch

    if kv_data == "zeros":
        return torch.zeros(shape, dtype=dtype, device=generator.device)
    return normal(shape, dtype, generator)


def ordered(count: int, page_order: str, generator: "torch.Generator") -> "torch.Tensor":
    """The integers below `count`, int64: in a seeded permutation, or ascending if contiguous."""
    import torch

    if page_order == "contiguous":
        return torch.arange(count, device=generator.device)
    return torch.randperm(count, generator=generator, device=generator.device)


@dataclass(frozen=True, slots=True)
class PageTables:
    """The pages of one pool that the requests of each set own."""

    tables: "torch.Tensor"  # int32 [sets, requests, most pages]; unused entries UNUSED_ENTRY
    strangers: "torch.Tensor"  # int64, pages that no request owns
    num_pages: int
    pages_a_set: int
    block_size: int

    def of(self, index: int, group: Group) -> "torch.Tensor":
        """The pages of a group of requests in set `index`, in token order: [count, pages]."""
        return self.tables[index, group.requests, : self._used(group)]

    def of_each(
        self, sets: "torch.Tensor | int", group: Group, requests: "torch.Tensor"
    ) -> "torch.Tensor":
        """As many pages [n, pages] of single requests, int64 [n], as those of a group have.

        Behind a shorter request's own stand pages that may be anybody's.
        """
        return self.tables[sets, requests, : self._used(group)].clamp_max(self.num_pages - 1)

    def at(self, keys: Keys) -> "tuple[torch.Tensor, torch.Tensor]":
        """The pages and the offsets in them, int64, of single keys."""
        pages = self.tables[keys.sets, keys.requests, keys.positions // self.block_size]
        return pages.long(), keys.positions % self.block_size

    def exchange(self, lengths: Iterable[int]) -> None:
        """Give each request the whole pages of the same request of the next set, in place.

        Those of its first tokens, of which `lengths` has the number. With a single set, pages move
        on to the next request.
        """
        import torch

        device, whole = self.tables.device, [each // self.block_size for each in lengths]
        places = torch.arange(self.tables.shape[2], device=device)
        chosen = (places < torch.tensor(whole, device=device)[:, None]).expand_as(self.tables)
        shift = sum(whole) if len(self.tables) > 1 else whole[0]
        self.tables[chosen] = self.tables[chosen].roll(-shift)

    def tails(self, batch: Batch) -> "tuple[torch.Tensor, torch.Tensor]":
        """The pages and the offsets in them, int64, of all places behind a request's last token."""
        lengths, sets = Lengths.of(batch, self.tables.device), len(self.tables)
        behind = Keys.within(
            groups_of(batch), lengths, sets, lambda group: group.behind(self.block_size)
        )
        return self.at(behind)

    def _used(self, group: Group) -> int:
        return -(-group.kv_len // self.block_size)


def pool_size(owned: int, least: int) -> int:
    """Pages of a pool in which requests own so many: one in twenty or more belongs to nobody."""
    return max(owned + max(STRANGERS, owned // 20), least)


def least_pages(case: Case, block_size: int, pools: int = 1) -> int:
    """The least pages of each of so many equal pools, which together have the size asked for."""
    page_bytes = block_size * cached_row_bytes(case)
    return math.ceil((case.pool_gib or 0) * 2**30 / page_bytes / pools)


def page_tables(
    batch: Batch,
    block_size: int,
    sets: int,
    generator: "torch.Generator",
    page_order: str = "scattered",
    least: int = 0,
) -> PageTables:
    """Assign disjoint pages of one pool to the requests of all sets, by a seeded permutation.

    The pool has at least `least` pages. With page order contiguous each request gets neighbouring
    pages, request after request.
    """
    import torch

    device = generator.device
    used = torch.tensor([-(-r.kv_len // block_size) for r in batch], device=device)
    pages_a_set = int(used.sum())
    needed = pages_a_set * sets
    num_pages = pool_size(needed, least)
    order = ordered(num_pages, page_order, generator)
    owned = torch.arange(int(used.max()), device=device) < used[:, None]
    tables = torch.full(
        (sets, len(batch), owned.shape[1]), UNUSED_ENTRY, dtype=torch.int32, device=device
    )
    tables[owned.expand_as(tables)] = order[:needed].int()
    return PageTables(tables, order[needed:], num_pages, pages_a_set, block_size)


def raw(stored: "torch.Tensor") -> "torch.Tensor":
    """fp8 as bytes, any other dtype unchanged: not every device can index fp8."""
    import torch

    return stored.view(torch.uint8) if stored.dtype.itemsize == 1 else stored


def spoil(pool: "torch.Tensor", tables: PageTables, batch: Batch, *, nan_tails: bool) -> None:
    """Write NaN, or LARGE in tails, where nothing may be read; pool is [pages, block, ...]."""
    nan = as_stored(float("nan"), pool.dtype)
    tail = nan if nan_tails else as_stored(LARGE, pool.dtype)
    stored = raw(pool)
    stored[tables.strangers] = nan
    stored[tables.tails(batch)] = tail


def clamped(values: "torch.Tensor", dtype: "torch.dtype") -> "torch.Tensor":
    """The values in this dtype, which holds the largest of them as its own largest."""
    import torch

    limit = torch.finfo(dtype).max
    return values.clamp(-limit, limit).to(dtype)


def as_stored(value: float, dtype: "torch.dtype") -> float:
    """The fill value for `raw`: the value clamped to the dtype's range, or its byte in fp8."""
    import torch

    near = torch.tensor(value).clamp(max=torch.finfo(dtype).max)  # NaN stays NaN
    return float(raw(near.to(dtype)).item())
