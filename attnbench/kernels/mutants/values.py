"""Faults in scales, options and projections of attention, and in which heads belong together."""

import math
from copy import copy
from typing import TYPE_CHECKING, Any

from attnbench.kernels.arithmetic import attend
from attnbench.kernels.mutants.arithmetic import attending, computed_with, scaled, without
from attnbench.kernels.mutants.fault import Fault, over_bf16, over_fp8
from attnbench.kernels.mutants.rows import in_last_head, in_last_request
from attnbench.kernels.paged import KEY_SCALE, VALUE_SCALE
from attnbench.kernels.reference import AttentionPrepared

if TYPE_CHECKING:
    import torch

    from attnbench.kernels.mutants.fault import Plant

STEP = 8  # rows whose keys are held at once
FP8_UNIT = 1 / 6  # a scale that is not a power of two


def of_other_rows(shift: Any) -> "Plant":
    """A kernel that gives each row the keys and values of another; `shift` of a case says which.

    It has the set and the row of each, int64 [n], and returns those of the others.
    """

    def alter(prepared: AttentionPrepared) -> None:
        honest = copy(prepared)

        def expected(sets: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
            import torch

            sets = sets.repeat_interleave(rows[0].numel())
            pairs = zip(sets.split(STEP), rows.flatten().split(STEP), strict=True)
            return torch.cat([_mixed(honest, s, r, shift(honest, s, r)) for s, r in pairs])

        vars(prepared).update(expected=expected, whole=lambda index: None)

    return computed_with(alter)


def _mixed(
    honest: AttentionPrepared, sets: "torch.Tensor", rows: "torch.Tensor", other: Any
) -> Any:
    given: list[tuple[Any, ...]] = []
    spy, own = copy(honest), copy(honest)

    def noted(*arguments: Any, **more: Any) -> "torch.Tensor":
        given.append(arguments[1:3])
        return attend(*arguments, **more)

    def mixing(query: Any, keys: Any, values: Any, *rest: Any, **more: Any) -> "torch.Tensor":
        return attend(query, *given.pop(0), *rest, **more)

    spy.attend, own.attend = noted, mixing
    spy.expected(*other)
    return own.expected(sets, rows)


def next_kv_head(prepared: Any, sets: "torch.Tensor", rows: "torch.Tensor") -> Any:
    """The row of the first query head of the next KV head, in the same token."""
    heads, shape = prepared.num_heads, prepared.shape
    share = heads // getattr(shape, "num_kv_heads", heads)
    head = (rows % heads // share + 1) * share % heads
    return sets, rows // heads * heads + head


def interleaved_kv_head(prepared: Any, sets: "torch.Tensor", rows: "torch.Tensor") -> Any:
    """The row whose KV head is the query head modulo their number, not its share of them."""
    heads = prepared.num_heads
    kv_heads = getattr(prepared.shape, "num_kv_heads", 1)
    head = rows % heads % kv_heads * (heads // kv_heads)
    return sets, rows // heads * heads + head


def next_request(prepared: Any, sets: "torch.Tensor", rows: "torch.Tensor") -> Any:
    """The same row of the next request, where all are alike."""
    total = prepared.batch.num_tokens * prepared.num_heads
    alike = len(prepared.groups) == 1
    return sets, (rows + total // len(prepared.batch)) % total if alike else rows


def next_set(prepared: Any, sets: "torch.Tensor", rows: "torch.Tensor") -> Any:
    """The same row of the next set."""
    return (sets + 1) % len(prepared.calls), rows


def swapped_scales(given: dict[str, Any]) -> dict[str, Any]:
    """Keys with the scale of values, and the other way round."""
    factor = VALUE_SCALE / KEY_SCALE
    return given | {"keys": given["keys"] * factor, "values": given["values"] / factor}


def exponent_of(scale: float) -> float:
    """The power of two below a scale, over the scale."""
    return float(2.0 ** math.floor(math.log2(scale)) / scale)


def through_fp8(*names: str) -> Any:
    """Those arguments rounded to e4m3, with a scale of FP8_UNIT."""

    def change(given: dict[str, Any]) -> dict[str, Any]:
        import torch

        def rounded(x: "torch.Tensor") -> "torch.Tensor":
            return (x.float() / FP8_UNIT).clamp(-448, 448).to(
                torch.float8_e4m3fn
            ).float() * FP8_UNIT

        return given | {name: rounded(given[name]) for name in names}

    return change


def without_rope(given: dict[str, Any]) -> dict[str, Any]:
    """Scores of the latents alone; only MLA's keys are longer than its values."""
    query, rank = given["query"].clone(), given["values"].shape[-1]
    query[..., rank:] = 0
    return given | {"query": query}


def late_values(given: dict[str, Any]) -> dict[str, Any]:
    """The end of a latent in place of its start as values."""
    rank = given["values"].shape[-1]
    return (
        given | {"values": given["keys"][..., -rank:]} if rank < given["keys"].shape[-1] else given
    )


def other_projection(prepared: Any) -> None:
    """W_UV of the next head."""
    if hasattr(prepared, "weights"):
        nope = prepared.shape.qk_nope_head_dim
        weights = prepared.weights.clone()
        weights[:, :, nope:] = weights[:, :, nope:].roll(1, 1)
        prepared.weights = weights


def other_sinks(prepared: Any) -> None:
    """The sinks of the next head."""
    if getattr(prepared, "sinks", None) is not None:
        prepared.sinks = prepared.sinks.roll(1)


def topk_minus_one(prepared: Any) -> None:
    """Each selected key's neighbour in front."""
    if getattr(prepared, "topk", None) is not None:
        prepared.topk = prepared.topk.where(prepared.topk < 1, prepared.topk - 1)


def topk_twice(prepared: Any) -> None:
    """Every second selected key twice, the others never."""
    if getattr(prepared, "topk", None) is not None:
        prepared.topk = prepared.topk.clone()
        found = prepared.topk[..., 1::2]
        before = prepared.topk[..., 0::2][..., : found.shape[-1]]
        found.copy_(before.where(found >= 0, found))


def capped_before_scaling(given: dict[str, Any]) -> dict[str, Any]:
    """The cap on products, which are scaled after it."""
    cap = given.get("softcap")
    return given if cap is None else given | {"softcap": cap * given["scale"]}


def sinks_as(change: Any) -> Any:
    """Sinks changed, where there are any."""

    def changed(given: dict[str, Any]) -> dict[str, Any]:
        sinks = given.get("sinks")
        return given if sinks is None else given | {"sinks": change(sinks)}

    return changed


def times(factor: float) -> Any:
    """Values times that."""
    return lambda given: given | {"values": given["values"] * factor}


VALUE_FAULTS = (
    *(
        Fault(f"softmax scale {factor - 1:+.0%}", scaled("scale", factor))
        for factor in (0.95, 0.98, 0.99, 1.01, 1.02, 1.05)
    ),
    *(
        Fault(f"values {factor - 1:+.0%}", scaled("values", factor))
        for factor in (0.95, 0.98, 0.99, 1.01, 1.02, 1.05)
    ),
    Fault("softmax to base 2", scaled("scale", 0.6931)),
    Fault("softmax scale left out", attending(lambda given: given | {"scale": 1.0})),
    Fault("soft cap ignored", without("softcap")),
    Fault("soft cap before the scale", attending(capped_before_scaling)),
    Fault("sinks ignored", without("sinks")),
    Fault("sinks to base 2", attending(sinks_as(lambda sinks: sinks * math.log(2)))),
    Fault("a sink in each of 8 splits", attending(sinks_as(lambda sinks: sinks + math.log(8)))),
    Fault("sinks of another head", computed_with(other_sinks)),
    Fault("keys and values of the next KV head", of_other_rows(next_kv_head)),
    Fault("KV heads taken in turns", of_other_rows(interleaved_kv_head)),
    Fault("keys and values of the next request", of_other_rows(next_request)),
    Fault("keys and values of another set", of_other_rows(next_set)),
    Fault("k_scale and v_scale swapped", attending(swapped_scales), over_fp8),
    Fault("k_scale ignored", scaled("keys", 1 / KEY_SCALE), over_fp8),
    Fault("v_scale ignored", scaled("values", 1 / VALUE_SCALE), over_fp8),
    Fault("exponent of k_scale alone", scaled("keys", exponent_of(KEY_SCALE)), over_fp8),
    Fault("exponent of v_scale alone", scaled("values", exponent_of(VALUE_SCALE)), over_fp8),
    Fault("k_scale applied twice", scaled("keys", KEY_SCALE), over_fp8),
    Fault("v_scale applied twice", scaled("values", VALUE_SCALE), over_fp8),
    Fault("cache read through fp8", attending(through_fp8("keys", "values")), over_bf16),
    Fault("values read through fp8", attending(through_fp8("values")), over_bf16),
    Fault("fp8 cache rounded twice", attending(through_fp8("keys", "values")), over_fp8),
    Fault("RoPE part ignored", attending(without_rope)),
    Fault("values from the end of the latents", attending(late_values)),
    Fault("W_UV of another head", computed_with(other_projection)),
    Fault("selected keys off by one", computed_with(topk_minus_one)),
    Fault("selected keys twice", computed_with(topk_twice)),
    Fault("values +5 %, last request only", attending(times(1.05), in_last_request)),
    Fault("values +5 %, last head only", attending(times(1.05), in_last_head)),
)
