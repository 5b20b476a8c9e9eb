"""Which rows of a batch a fault concerns: bool [n] for rows int64 [n]."""

from typing import TYPE_CHECKING

from attnbench.kernels.reference import AttentionPrepared

if TYPE_CHECKING:
    import torch


def request_of(prepared: AttentionPrepared, rows: "torch.Tensor") -> "torch.Tensor":
    """The request that each row belongs to, int64 [n]."""
    import torch

    ends = torch.tensor([request.q_len for request in prepared.batch]).cumsum(0)
    return torch.bucketize(rows // prepared.num_heads, ends, right=True)


def in_first_request(prepared: AttentionPrepared, rows: "torch.Tensor") -> "torch.Tensor":
    """Those of the first request."""
    return request_of(prepared, rows) == 0


def in_middle_request(prepared: AttentionPrepared, rows: "torch.Tensor") -> "torch.Tensor":
    """Those of the request in the middle of the batch."""
    return request_of(prepared, rows) == len(prepared.batch) // 2


def in_last_request(prepared: AttentionPrepared, rows: "torch.Tensor") -> "torch.Tensor":
    """Those of the last request."""
    return request_of(prepared, rows) == len(prepared.batch) - 1


def in_last_head(prepared: AttentionPrepared, rows: "torch.Tensor") -> "torch.Tensor":
    """Those of the last head."""
    return rows % prepared.num_heads == prepared.num_heads - 1
