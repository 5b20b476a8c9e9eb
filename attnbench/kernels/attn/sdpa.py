"""PyTorch's scaled_dot_product_attention on dense KV, one launch per group of equal requests."""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, ClassVar

from attnbench.kernels.base import Backend, Setting
from attnbench.kernels.groups import Group, Keys
from attnbench.kernels.heads import HeadsPrepared
from attnbench.kernels.inputs import (
    cached,
    digest_of,
    normal,
    redraw,
    seeded,
    signs,
    torch_dtype,
    turn,
)
from attnbench.kernels.memory import Bytes, ends_bytes, needle_bytes
from attnbench.kernels.reference import rotating
from attnbench.kernels.rows import Rows
from attnbench.kernels.sdpa_kernel import SdpaKernel, Views, sdpa_mask_bytes
from attnbench.kernels.tolerance import attention
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case
from attnbench.specs.cost import cached_row_bytes

if TYPE_CHECKING:
    import torch

ON_CPU = ("flash", "math")


class Sdpa(Backend):
    """PyTorch's fused attention; it has no page tables, so its KV is dense."""

    name: ClassVar = "sdpa"
    aliases: ClassVar = ("torch-sdpa",)
    knobs: ClassVar = frozenset({"sdpa_backend"})
    paged: ClassVar = False

    def refusal(self, case: Case, machine: Machine) -> str | None:
        asked = case.knob("sdpa_backend")
        if machine.kind == "cpu" and asked not in (None, *ON_CPU):
            return f"SDPA's {asked} kernel needs an NVIDIA GPU; a CPU has {' and '.join(ON_CPU)}"
        return super().refusal(case, machine)

    def prepare(self, case: Case, setting: Setting) -> "SdpaPrepared":
        return SdpaPrepared(case, setting)

    def memory(self, case: Case, sets: int, machine: Machine) -> Bytes:
        kv = sets * case.batch.num_kv_tokens * cached_row_bytes(case)
        masks = sdpa_mask_bytes(case.batch, machine)
        needles = needle_bytes(case, sets, 1)
        return ends_bytes(case, sets) | {"kv": kv, "masks": masks, "needles": needles}


class SdpaPrepared(HeadsPrepared):
    """A set's KV of a group is [count, kv_len, kv heads, head dim]; SDPA allocates its output."""

    def __init__(self, case: Case, setting: Setting) -> None:
        super().__init__(case, setting, 1)
        shape, batch, sets = self.shape, case.batch, setting.sets
        generator, dtype = seeded(setting.device, setting.seed), torch_dtype(case.dtype)
        ends = (sets, batch.num_tokens, shape.num_q_heads, shape.head_dim)
        self.queries = normal(ends, dtype, generator)
        kv_heads = (shape.num_kv_heads, shape.head_dim)
        self.kv = [
            cached((2, sets, g.count, g.kv_len, *kv_heads), dtype, generator, case.kv_data)
            for g in self.groups
        ]
        self.lay_needles(sets, setting.seed)
        forced = case.knob("sdpa_backend")
        self.kernels = [
            SdpaKernel(group, forced, self._views(0, at)) for at, group in enumerate(self.groups)
        ]
        self.results: list[list[torch.Tensor]] = [[] for _ in range(sets)]
        self.calls = rotating(self._launch, sets)
        self.tolerance = attention(case.dtype, keys=case.batch.max_kv_len)
        self.touched_bytes = sum(kv[:, 0].nbytes for kv in self.kv) + 2 * self.queries[0].nbytes
        names = sorted({kernel.name for kernel in self.kernels})
        self.resolved = {"sdpa_backend": "+".join(names), "layout": "dense"}

    def _views(self, index: int, at: int) -> Views:
        """q, k and v of one group as SDPA wants them: [count, heads, length, head dim]."""
        group = self.groups[at]
        sizes = (group.count, group.q_len, self.shape.num_q_heads, self.shape.head_dim)
        query = self.queries[index, group.tokens].view(sizes).transpose(1, 2)
        keys, values = self.kv[at][:, index].transpose(2, 3)
        return query, keys, values

    def _launch(self, index: int) -> None:
        """Frees the last results first, so a hot call writes to the same memory as before."""
        self.results[index] = []
        self.results[index] = [
            kernel(*self._views(index, at)) for at, kernel in enumerate(self.kernels)
        ]

    def renew(self, seed: int) -> None:
        """Also the negative of half of the tokens."""
        redraw(self.queries, self.queries.dtype, seed)
        for kv in self.kv:
            turn(kv, signs(tuple(kv.shape[1:4]), self.device, seed + 1)[..., None, None])
        self.heat()

    def digest(self) -> "torch.Tensor":
        return digest_of(self.queries, *self.kv)

    def negate_values(self) -> bool:
        for kv in self.kv:
            kv[1].neg_()
        return True

    def poison(self, index: int) -> None:
        """NaN in the last results, and in the memory that the next ones are likely to get."""
        import torch

        if not self.results[index]:
            self._launch(index)
        for result in self.results[index]:
            result.fill_(float("nan"))
            torch.full_like(result, float("nan"))

    def poison_sets(self, chosen: Sequence[int]) -> None:
        """In few launches for many sets, whose results have the same sizes."""
        import torch

        for index in chosen:
            if not self.results[index]:
                self._launch(index)
        super().poison_sets(chosen[:1])
        others = [result for index in chosen[1:] for result in self.results[index]]
        if others:
            torch._foreach_mul_(others, float("nan"))

    def output(self, index: int) -> "torch.Tensor":
        import torch

        rows = [r.transpose(1, 2).reshape(-1, r.shape[-1]) for r in self.results[index]]
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    def keys_at(self, at: Keys) -> "torch.Tensor":
        keys = self.kv[self.groups.index(at.group)][0]
        return keys[at.sets, at.requests - at.group.first, at.positions].float()

    def put_keys(self, at: Keys, keys: "torch.Tensor") -> None:
        stored = self.kv[self.groups.index(at.group)][0]
        stored[at.sets, at.requests - at.group.first, at.positions] = keys.to(stored.dtype)

    def kind(self, group: Group) -> Hashable:
        return group  # each has tensors of its own

    def gathers(self, group: Group) -> bool:
        return False

    def gathered(self, rows: Rows, kv_heads: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        kv, requests = self.kv[self.groups.index(rows.group)], rows.requests - rows.group.first
        keys, values = kv[:, rows.sets, requests, :, kv_heads].unbind(1)  # each [n, kv, d]
        return keys, values
