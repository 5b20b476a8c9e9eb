"""A prepared cache write of either kind: its pool, its slots, and reading back."""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Self

from attnbench.kernels.base import Prepared, Setting
from attnbench.kernels.cache_write_base.pool import Pool
from attnbench.kernels.cache_write_base.requests import Requests
from attnbench.kernels.cache_write_base.slots import PADDING, check_pages, draw_slots, pages_for
from attnbench.kernels.inputs import seeded, torch_dtype
from attnbench.kernels.memory import INT64, Bytes
from attnbench.kernels.reference import MOST_ELEMENTS, rotating
from attnbench.provenance.host import last_level_cache_bytes
from attnbench.specs.case import Case
from attnbench.specs.cost import ELEMENT_BYTES, cached_elements, cached_row_bytes, new_bytes

if TYPE_CHECKING:
    import torch

DEFAULT_BLOCK_SIZE = 16


def num_pages_of(case: Case, sets: int, l2_bytes: int) -> int:
    """The pages of the cache: as many as are asked for, else as are needed."""
    if (asked := case.knob("num_blocks")) is not None:
        return int(asked)
    block_size = case.block_size or DEFAULT_BLOCK_SIZE
    page_bytes = block_size * cached_row_bytes(case)
    return pages_for((sets, case.batch.num_tokens), block_size, page_bytes, l2_bytes)


def write_bytes(case: Case, sets: int, l2_bytes: int) -> Bytes:
    """Of the tensors that CacheWrite holds for so many sets; a page more guards the cache."""
    block_size, tokens = case.block_size or DEFAULT_BLOCK_SIZE, case.batch.num_tokens
    pages = 1 + num_pages_of(case, sets, l2_bytes)
    new = (tokens + PADDING) * cached_elements(case) * ELEMENT_BYTES[case.dtype]
    return {
        "cache": pages * block_size * cached_row_bytes(case),
        "new tokens": inputs_of(case, sets) * new,
        "slots": sets * INT64 * (3 * tokens + PADDING),
    }


def inputs_of(case: Case, sets: int) -> int:
    """The inputs that so many sets have: hot ones are shared by all, so each call warms the next.

    RoPE writes keys right before the write of the cache. Here the call before has read them.
    """
    return min(sets, 1) if case.inputs == "hot" else sets


def _l2_bytes(device: str) -> int:
    """A CPU's does not matter: its caches are small."""
    if device == "cpu":
        return 0
    import torch

    return int(torch.cuda.get_device_properties(device).L2_cache_size)


def inputs_reached(case: Case, cache_bytes: int) -> str:
    """hot, or mixed if a call moves more than the cache holds and so drops part of its inputs."""
    moved = new_bytes(case) + case.batch.num_tokens * cached_row_bytes(case)
    return "hot" if moved <= cache_bytes else "mixed"


def _last_level_bytes(device: str) -> int:
    """Of the cache that keeps hot inputs."""
    return last_level_cache_bytes() or 0 if device == "cpu" else _l2_bytes(device)


class CacheWrite(Prepared):
    """The sets write disjoint slots of one pool; the output read back is one row per token.

    An fp8 cache is read back as its stored numbers, without scales: those lie on a grid.
    """

    renewable: ClassVar = True
    requests: Requests | None = None  # the slots in FlashInfer's form, if calls read that

    def __init__(self, case: Case, setting: Setting) -> None:
        import torch

        self.device = setting.device
        self.case, self.num_tokens = case, case.batch.num_tokens
        self.block_size = case.block_size or DEFAULT_BLOCK_SIZE
        self.dtype = torch_dtype(case.dtype)
        self.quantised = case.kv_cache_dtype != "auto"
        generator, sizes = seeded(setting.device, setting.seed), (setting.sets, self.num_tokens)
        page, slot_axis = self.page()
        num_pages = num_pages_of(case, setting.sets, _l2_bytes(setting.device))
        check_pages(num_pages, sizes, self.block_size)
        self.pool = Pool(num_pages, page, slot_axis, setting.device)
        self.draw = partial(draw_slots, num_pages, self.block_size, sizes, case.page_order)
        self.slots = self.draw(generator)
        self.mappings = self.slots.mapping.unbind()
        self.poisoned = torch.zeros(setting.sets, dtype=torch.bool)
        self.critical_rows = (0, self.num_tokens - 1)
        self.resolved = {"block_size": self.block_size}
        if case.inputs == "hot":
            self.resolved |= {"inputs": inputs_reached(case, _last_level_bytes(setting.device))}
        self.fill(setting.sets, generator)

    def written_by(self, launch: Callable[[int], object], index_bytes: int | None = None) -> Self:
        """This write with `launch`, called with the index of a set, as its calls.

        `index_bytes` are those a call reads to find the slots, by default the slot mapping.
        """
        self.calls = rotating(launch, len(self.mappings))
        if index_bytes is None:
            index_bytes = self.mappings[0].nbytes
        new = new_bytes(self.case) if self.case.inputs == "cold" else 0
        written = self.num_tokens * cached_row_bytes(self.case)
        self.touched_bytes = new + written + index_bytes
        return self

    @abstractmethod
    def page(self) -> tuple[tuple[int, ...], int]:
        """The sizes of a page in bytes, and the dimension that counts its slots."""

    @abstractmethod
    def fill(self, sets: int, generator: "torch.Generator") -> None:
        """Draw each set's inputs and scales."""

    @abstractmethod
    def refill(self, generator: "torch.Generator") -> None:
        """Draw other inputs in place of these, for the same scales."""

    def renew(self, seed: int) -> None:
        """Other tokens, sent to other slots; those of before may no longer be written."""
        generator = seeded(self.device, seed)
        self.pool.release(self.slots.pages.flatten(), self.slots.offsets.flatten())
        self.poisoned.zero_()
        self.slots.overwrite(self.draw(generator))
        if self.requests is not None:
            self.requests.overwrite(self.slots.pages, self.slots.offsets)
        self.refill(generator)

    def poison_some(self, sets: int) -> None:
        """All: new slots hold no old results, and `damage` takes others for written by mistake."""
        self.poison_sets(range(sets))

    def poison(self, index: int) -> None:
        self.pool.poison(self.slots.pages[index], self.slots.offsets[index])
        self.poisoned[index] = True

    def whole(self, index: int) -> "tuple[torch.Tensor, torch.Tensor] | None":
        import torch

        if self.num_tokens * cached_elements(self.case) > MOST_ELEMENTS:
            return None
        rows = torch.arange(self.num_tokens)
        return rows, self.expected(torch.full_like(rows, index), rows)

    def spread(self, count: int, seed: int) -> "torch.Tensor":
        import torch

        generator = torch.Generator().manual_seed(seed)
        return torch.randint(self.num_tokens, (count, 1), generator=generator)

    def place(self, row: int) -> str:
        return f"token {row}"

    def damage(self, index: int) -> str | None:
        """Memory that no launched set owns must be unchanged; sets are poisoned before launch."""
        owned = self.poisoned.nonzero().flatten()
        pages, offsets = (each[owned].flatten() for each in (self.slots.pages, self.slots.offsets))
        return self.pool.stray(pages, offsets)
