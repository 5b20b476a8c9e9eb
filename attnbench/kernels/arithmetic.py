"""The reference's arithmetic: attention in fp32."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Attend = Callable[..., "torch.Tensor"]  # with the arguments of `attend`
# Which keys each row sees, as `visible_keys`: from keys, seen and the window.
Visible = Callable[["torch.Tensor", "torch.Tensor", int | None], "torch.Tensor"]
# Weights [..., k] from scores [..., k], of which hidden ones are -inf, and sinks [...].
Softmax = Callable[["torch.Tensor", "torch.Tensor | None"], "torch.Tensor"]


def softmax_with_sinks(scores: "torch.Tensor", sinks: "torch.Tensor | None") -> "torch.Tensor":
    """Softmax over the last dimension with exp(sinks) added to the sum; sinks are [...]."""
    import torch

    if sinks is None:
        return scores.softmax(-1)
    with_sinks = torch.cat([scores, sinks.to(scores.dtype).unsqueeze(-1)], dim=-1)
    return with_sinks.softmax(-1)[..., :-1]


def visible_keys(keys: "torch.Tensor", seen: "torch.Tensor", window: int | None) -> "torch.Tensor":
    """Which of the keys [n, k, d] each row sees: bool [n, k], or [n, m, k] for `seen` [n, m]."""
    import torch

    places = torch.arange(keys.shape[1], device=keys.device)
    visible = places < seen[..., None]
    if window is not None:
        visible &= places >= seen[..., None] - window
    return visible


def attend(
    query: "torch.Tensor",
    keys: "torch.Tensor",
    values: "torch.Tensor",
    seen: "torch.Tensor",
    scale: float,
    *,
    window: int | None = None,
    softcap: float | None = None,
    sinks: "torch.Tensor | None" = None,
    visible: Visible = visible_keys,
    softmax: Softmax = softmax_with_sinks,
) -> "torch.Tensor":
    """Queries [n, d] over keys [n, k, d] and values [n, k, d_v] in fp32: [n, d_v].

    Or queries [n, m, d], of which m share keys: [n, m, d_v]; then `seen` and `sinks` are [n, m].

    Row i sees its first seen[i] keys, with a window only the last of those; all other keys and
    values may be NaN. `softcap` c makes scores c * tanh(scores / c) (Gemma 2, arXiv:2408.00118).
    `sinks` [n] are logits that add to the softmax's sum but have no value (gpt-oss,
    arXiv:2508.10925).
    """
    import torch

    hidden = ~visible(keys, seen, window)
    # Scores are by far the most elements: few passes over them, and one copy.
    scores = torch.einsum("n...d,nkd->n...k", query.float() * scale, keys.float())
    if softcap is not None:
        scores = softcap * (scores / softcap).tanh()
    scores.masked_fill_(hidden, float("-inf"))
    weights = softmax(scores, sinks)
    from_all = hidden if hidden.ndim == 2 else hidden.all(1)
    known = values.to(torch.float32, copy=True).masked_fill_(from_all[:, :, None], 0.0)
    return torch.einsum("n...k,nkd->n...d", weights, known)
