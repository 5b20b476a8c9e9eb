"""The products around attention at scope layer, as in vLLM's MLA layer."""

from typing import TYPE_CHECKING

from attnbench.kernels.inputs import normal
from attnbench.specs.shape import MlaShape

if TYPE_CHECKING:
    import torch


def draw_weights(
    shape: MlaShape, layers: int, dtype: "torch.dtype", generator: "torch.Generator"
) -> "torch.Tensor":
    """Weights of kv_b_proj [layers, heads, nope + v, rank].

    They project to unit variance, roughly as trained ones do.
    """
    expanded = shape.qk_nope_head_dim + shape.v_head_dim
    sizes = (layers, shape.num_q_heads, expanded, shape.kv_lora_rank)
    return normal(sizes, dtype, generator).mul_(shape.kv_lora_rank**-0.5)


def absorb(queries: "torch.Tensor", w_uk: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
    """Queries [tokens, heads, nope + rope] times [heads, nope, rank]: [tokens, heads, rank].

    The second result is the RoPE part [tokens, heads, rope], a view.
    """
    import torch

    nope, rope = queries.split([w_uk.shape[1], queries.shape[2] - w_uk.shape[1]], dim=-1)
    return torch.bmm(nope.transpose(0, 1), w_uk).transpose(0, 1), rope


def project_values(attended: "torch.Tensor", w_uv: "torch.Tensor", out: "torch.Tensor") -> None:
    """Attended latents [tokens, heads, rank] times [heads, v, rank] into out [tokens, heads, v]."""
    import torch

    torch.bmm(attended.transpose(0, 1), w_uv.transpose(1, 2), out=out.transpose(0, 1))


def up_project(
    latents: "torch.Tensor", weights: "torch.Tensor", nope: int
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Latents [tokens, latent] times [heads, nope + v, rank]: keys and values of ordinary heads.

    Keys are [tokens, heads, nope + rope]; values, a view, are [tokens, heads, v].
    """
    from torch.nn.functional import linear

    heads, expanded, rank = weights.shape
    both = linear(latents[:, :rank], weights.flatten(0, 1)).unflatten(1, (heads, expanded))
    rope = latents.shape[1] - rank
    keys = latents.new_empty((len(latents), heads, nope + rope))
    keys[..., :nope] = both[..., :nope]
    keys[..., nope:] = latents[:, None, rank:]
    return keys, both[..., nope:]
