"""Inputs as production meets them, and hostile where nothing may read.

Random normal data from a seed; pages scattered by a seeded permutation and disjoint between
requests and between working sets; NaN in every page that belongs to nobody and, where the backend
tolerates that, behind the last token of a request.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnbench.kernels.groups import Group, groups_of
from attnbench.specs.batch import Batch

if TYPE_CHECKING:
    import torch

STRANGERS = 8  # pages that belong to nobody, at least
UNUSED_ENTRY = 2**31 - 1  # a page index that must not be followed
# What stands behind the last token where a kernel multiplies whole pages: finite, yet ruinous.
LARGE = 3e4


def torch_dtype(name: str) -> "torch.dtype":
    """The torch dtype of our name for it."""
    import torch

    return {
        "bf16": torch.bfloat16,
        "fp16": torch.float16,
        "fp32": torch.float32,
        "fp8": torch.float8_e4m3fn,
        "fp8_e4m3": torch.float8_e4m3fn,
        "fp8_e5m2": torch.float8_e5m2,
    }[name]


def seeded(device: str, seed: int) -> "torch.Generator":
    """A generator of this device; one seed gives one stream of inputs."""
    import torch

    return torch.Generator(device=device).manual_seed(seed)


def normal(
    shape: tuple[int, ...], dtype: "torch.dtype", generator: "torch.Generator"
) -> "torch.Tensor":
    """Standard normal values of the generator's device."""
    import torch

    return torch.randn(shape, dtype=dtype, device=generator.device, generator=generator)


def cached(
    shape: tuple[int, ...], dtype: "torch.dtype", generator: "torch.Generator", kv_data: str
) -> "torch.Tensor":
    """What stands in a cache: standard normal values, or zeros if `kv_data` says so."""
    import torch

    if kv_data == "zeros":
        return torch.zeros(shape, dtype=dtype, device=generator.device)
    return normal(shape, dtype, generator)


def ordered(count: int, page_order: str, generator: "torch.Generator") -> "torch.Tensor":
    """The numbers below `count`, int64: a seeded permutation, or in order if contiguous."""
    import torch

    if page_order == "contiguous":
        return torch.arange(count, device=generator.device)
    return torch.randperm(count, generator=generator, device=generator.device)


@dataclass(frozen=True, slots=True)
class PageTables:
    """Which pages of one pool the requests of each set own."""

    tables: "torch.Tensor"  # int32 [sets, requests, most pages]; unused entries UNUSED_ENTRY
    strangers: "torch.Tensor"  # int64 pages of nobody
    num_pages: int
    pages_a_set: int
    block_size: int

    def of(self, index: int, group: Group) -> "torch.Tensor":
        """The pages of a group of requests in set `index`, in token order: [count, pages]."""
        return self.tables[index, group.requests, : self._used(group)]

    def of_each(
        self, sets: "torch.Tensor", group: Group, requests: "torch.Tensor"
    ) -> "torch.Tensor":
        """The pages of single requests of a group, each in its set, both int64 [n]: [n, pages]."""
        return self.tables[sets, group.first + requests, : self._used(group)]

    def _used(self, group: Group) -> int:
        return -(-group.kv_len // self.block_size)


def page_tables(
    batch: Batch,
    block_size: int,
    sets: int,
    generator: "torch.Generator",
    page_order: str = "scattered",
) -> PageTables:
    """Give the requests of all sets disjoint pages of one pool, scattered by a seeded permutation.

    A page order of contiguous gives each request neighbouring pages, request by request.
    """
    import torch

    device = generator.device
    used = torch.tensor([-(-r.kv_len // block_size) for r in batch], device=device)
    pages_a_set = int(used.sum())
    needed = pages_a_set * sets
    num_pages = needed + max(STRANGERS, needed // 20)
    order = ordered(num_pages, page_order, generator)
    owned = torch.arange(int(used.max()), device=device) < used[:, None]
    tables = torch.full(
        (sets, len(batch), owned.shape[1]), UNUSED_ENTRY, dtype=torch.int32, device=device
    )
    tables[owned.expand_as(tables)] = order[:needed].int()
    return PageTables(tables, order[needed:], num_pages, pages_a_set, block_size)


def raw(stored: "torch.Tensor") -> "torch.Tensor":
    """fp8 as its bytes, anything else as it is: fp8 cannot be indexed on every device."""
    import torch

    return stored.view(torch.uint8) if stored.dtype.itemsize == 1 else stored


def spoil(pool: "torch.Tensor", tables: PageTables, batch: Batch, *, nan_tails: bool) -> None:
    """Write NaN, or what is as ruinous, where nothing may read: pool [pages, block, ...]."""
    nan = as_stored(float("nan"), pool.dtype)
    tail = nan if nan_tails else as_stored(LARGE, pool.dtype)
    stored = raw(pool)
    stored[tables.strangers] = nan
    for group in groups_of(batch):
        if filled := group.kv_len % tables.block_size:
            last = tables.tables[:, group.requests, group.kv_len // tables.block_size]
            stored[last.flatten().long(), filled:] = tail


def as_stored(value: float, dtype: "torch.dtype") -> float:
    """What `raw` is filled with: the value, at most the dtype's largest, or of fp8 its byte."""
    import torch

    near = torch.tensor(value).clamp(max=torch.finfo(dtype).max)  # NaN stays NaN
    return float(raw(near.to(dtype)).item())
