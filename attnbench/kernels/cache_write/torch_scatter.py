"""New keys and values scattered into a paged cache by PyTorch's indexed assignment."""

from typing import TYPE_CHECKING, ClassVar

from attnbench.kernels.base import Backend, Prepared, Setting
from attnbench.kernels.inputs import cached, ordered, seeded, torch_dtype
from attnbench.kernels.reference import rotating
from attnbench.kernels.tolerance import EXACT
from attnbench.specs.case import Case
from attnbench.specs.cost import SLOT_BYTES
from attnbench.specs.shape import AttnShape

if TYPE_CHECKING:
    import torch

DEFAULT_BLOCK_SIZE = 16
CANARY = 1.0  # what every slot holds before the writes: finite in every dtype
SCALE = 0.5  # of an fp8 cache: value = stored * SCALE, a power of two so that fp32 is exact


class TorchScatter(Backend):
    """The baseline that vLLM's and FlashInfer's write kernels should beat."""

    name: ClassVar = "torch"
    layouts: ClassVar = ("NHD", "HND")
    kv_cache_dtypes: ClassVar = ("auto", "fp8", "fp8_e4m3", "fp8_e5m2")

    def num_decode(self, case: Case) -> int:
        return 0

    def prepare(self, case: Case, setting: Setting) -> "ScatterPrepared":
        return ScatterPrepared(case, setting)


class ScatterPrepared(Prepared):
    """The cache is one tensor, logically [2, pages, block, heads, head dim]; slots are unique.

    A slot is page * block size + offset, as in vLLM; the sets write disjoint slots of one cache.
    """

    tolerance = EXACT

    def __init__(self, case: Case, setting: Setting) -> None:
        assert isinstance(case.shape, AttnShape)
        shape, tokens = case.shape, case.batch.num_tokens
        self.block_size, layout = case.block_size or DEFAULT_BLOCK_SIZE, case.layout or "NHD"
        generator, dtype = seeded(setting.device, setting.seed), torch_dtype(case.dtype)
        kv_name = case.dtype if case.kv_cache_dtype == "auto" else case.kv_cache_dtype
        self.kv_dtype = torch_dtype(kv_name)
        self.quantised = self.kv_dtype.itemsize == 1
        needed = tokens * setting.sets
        num_pages = -(-needed // self.block_size) + 8
        order = ordered(num_pages * self.block_size, case.page_order, generator)
        self.slots = order[:needed].view(setting.sets, tokens)
        heads = (shape.num_kv_heads, shape.head_dim)
        self.new = cached((setting.sets, 2, tokens, *heads), dtype, generator, case.kv_data)
        self.cache = _cache(num_pages, self.block_size, shape, layout, self.kv_dtype, self.slots)
        self.calls = rotating(self._launch, setting.sets)
        self.critical_rows = (0, tokens - 1)
        written = self.new[0].numel() * self.kv_dtype.itemsize
        self.touched_bytes = self.new[0].nbytes + written + tokens * SLOT_BYTES
        self.resolved = {"block_size": self.block_size, "layout": layout}

    def _launch(self, index: int) -> None:
        new = self.new[index]
        if self.quantised:
            new = self._quantise(new).view(_byte())
        self._stored()[(slice(None), *self._where(index))] = new

    def _where(self, index: int) -> "tuple[torch.Tensor, torch.Tensor]":
        """Page and offset of each token of the set."""
        slots = self.slots[index]
        return slots // self.block_size, slots % self.block_size

    def _quantise(self, values: "torch.Tensor") -> "torch.Tensor":
        import torch

        limit = torch.finfo(self.kv_dtype).max
        return (values / SCALE).clamp(-limit, limit).to(self.kv_dtype)

    def _stored(self) -> "torch.Tensor":
        """The cache, fp8 seen as bytes: indexing is not offered for fp8 everywhere."""
        return self.cache.view(_byte()) if self.quantised else self.cache

    def _rows(self, index: int) -> "torch.Tensor":
        """What stands in the set's slots, fp32 [tokens, 2 * heads * head dim]."""
        found = self._stored()[(slice(None), *self._where(index))]
        values = found.view(self.kv_dtype).float() * SCALE if self.quantised else found.float()
        return values.transpose(0, 1).flatten(1)

    def poison(self, index: int) -> None:
        """NaN in the set's slots, the canary everywhere else, for `damage` to look at."""
        import torch

        self.cache.fill_(CANARY)
        nan = torch.tensor(float("nan"), device=self.cache.device).to(self.kv_dtype)
        where = (slice(None), *self._where(index))
        self._stored()[where] = nan.view(_byte()) if self.quantised else nan

    def output(self, index: int) -> "torch.Tensor":
        return self._rows(index)

    def expected(self, sets: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
        new = self.new[sets, :, rows]  # [n, 2, heads, head dim]
        values = self._quantise(new).float() * SCALE if self.quantised else new.float()
        return values.flatten(1)

    def damage(self, index: int) -> str | None:
        """Every byte outside the set's slots still holds the canary."""
        intact = (self.cache.float() == CANARY).all(-1).all(-1).reshape(2, -1).all(0)  # [slots]
        intact[self.slots[index]] = True
        if bool(intact.all()):
            return None
        slot = int((~intact).nonzero()[0])
        return f"slot {slot} was written though no token was sent there"


def _byte() -> "torch.dtype":
    import torch

    return torch.uint8


def _cache(
    num_pages: int,
    block_size: int,
    shape: AttnShape,
    layout: str,
    dtype: "torch.dtype",
    slots: "torch.Tensor",
) -> "torch.Tensor":
    import torch

    heads, dim = shape.num_kv_heads, shape.head_dim
    if layout == "NHD":
        sizes: tuple[int, ...] = (2, num_pages, block_size, heads, dim)
        return torch.full(sizes, CANARY, device=slots.device).to(dtype)
    sizes = (2, num_pages, heads, block_size, dim)
    return torch.full(sizes, CANARY, device=slots.device).to(dtype).transpose(2, 3)
