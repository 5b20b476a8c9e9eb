"""Columns that only the views read: SQL parses no batch and knows no GPU."""

import math

from attnbench.provenance.machine import Machine
from attnbench.provenance.peaks import peaks
from attnbench.specs.batch import Batch


def machine_peaks(machine: Machine) -> dict[str, float | None]:
    """The columns of a machine's peak rates, byte/s and FLOP/s; None if unknown."""
    found = {dtype: peaks(machine, dtype) for dtype in ("bf16", "fp32", "fp8")}
    flops = {dtype: None if p is None else p.flops_per_second for dtype, p in found.items()}
    known = {dtype: rate if rate and math.isfinite(rate) else None for dtype, rate in flops.items()}
    return {
        "bytes_per_second": None if (p := found["bf16"]) is None else p.bytes_per_second,
        "flops_16_bit": known["bf16"],
        "flops_fp32": known["fp32"],
        "flops_fp8": known["fp8"],
    }


def batch_lengths(batch: Batch) -> dict[str, int]:
    """The columns of a batch: requests, tokens, and the longest query and KV length."""
    return {
        "num_requests": len(batch),
        "num_tokens": batch.num_tokens,
        "num_kv_tokens": batch.num_kv_tokens,
        "q_len": batch.max_q_len,
        "kv_len": batch.max_kv_len,
    }
