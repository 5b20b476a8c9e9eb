"""PyTorch: gather the pages, dequantise, one SDPA per group of equal requests, quantise."""

from typing import TYPE_CHECKING, ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.groups import Group
from attnbench.kernels.inputs import raw, signs, turn
from attnbench.kernels.memory import Bytes, paged_bytes
from attnbench.kernels.paged import DEFAULT_BLOCK_SIZE, PagedPrepared
from attnbench.kernels.prefill import DEFAULT_LAYOUT, PrefillBackend
from attnbench.kernels.reference import rotating
from attnbench.kernels.sdpa_kernel import SdpaKernel, Views, sdpa_mask_bytes
from attnbench.kernels.tolerance import attention
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case
from attnbench.specs.quant import QUANTS

if TYPE_CHECKING:
    import torch


class TorchGather(PrefillBackend):
    """Runs everywhere; every fused kernel should beat it."""

    name: ClassVar = "torch"
    quants: ClassVar = tuple(QUANTS)

    def prepare(self, case: Case, setting: Setting) -> "TorchGatherPrepared":
        return TorchGatherPrepared(case, setting)

    def memory(self, case: Case, sets: int, machine: Machine) -> Bytes:
        masks = {"masks": sdpa_mask_bytes(case.batch, machine)}
        return paged_bytes(case, sets, case.block_size or DEFAULT_BLOCK_SIZE) | masks


class TorchGatherPrepared(PagedPrepared):
    """Computes in the case's dtype, whatever dtypes q, KV and output are stored in."""

    def __init__(self, case: Case, setting: Setting) -> None:
        super().__init__(case, setting, layout=DEFAULT_LAYOUT, nan_tails=True)
        self.kernels = [SdpaKernel(group, None, self._views(0, group)) for group in self.groups]
        self.calls = rotating(self._launch, setting.sets)
        output = None if case.output_dtype == "auto" else case.output_dtype
        self.tolerance = attention(case.dtype, output=output, keys=case.batch.max_kv_len)
        names = sorted({kernel.name for kernel in self.kernels})
        self.resolved["sdpa_backend"] = "+".join(names)

    def renew(self, seed: int) -> None:
        """Also the negative of half of the tokens, and for each request pages of another set."""
        super().renew(seed)
        tokens = (self.tables.num_pages, self.block_size)
        by = signs(tokens, self.device, seed + 1)[:, :, None, None, None]
        turn(self.kv.permute(self._order), by)
        self.tables.exchange(request.kv_len for request in self.batch)

    def negate_values(self) -> bool:
        import torch

        turn(self.kv.permute(self._order)[:, :, 1], torch.tensor(-1, device=self.device))
        return True

    def _views(self, index: int, group: Group) -> Views:
        """q, k and v of one group as SDPA wants them: [count, heads, length, head dim]."""
        sizes = (group.count, group.q_len, self.shape.num_q_heads, self.shape.head_dim)
        query = self._values(self.queries[index, group.tokens], self.query_scale)
        pages = raw(self.kv).permute(self._order)[self.tables.of(index, group)]
        kv = pages.flatten(1, 2)[:, : group.kv_len].view(self.kv.dtype)  # [n, kv, 2, heads, d]
        keys, values = kv.permute(2, 0, 3, 1, 4)
        return (
            query.view(sizes).transpose(1, 2),
            self._values(keys, self.key_scale),
            self._values(values, self.value_scale),
        )

    def _values(self, stored: "torch.Tensor", scale: float) -> "torch.Tensor":
        return stored if scale == 1.0 else (stored.float() * scale).to(self.dtype)

    def _launch(self, index: int) -> None:
        import torch

        results = [
            kernel(*self._views(index, group)).transpose(1, 2).flatten(0, 1)
            for kernel, group in zip(self.kernels, self.groups, strict=True)
        ]
        self.written[index].store(torch.cat(results))
