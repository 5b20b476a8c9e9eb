"""FlashAttention 3's schedule in a graph: python benchmarks/flash_schedule.py

Needs a Hopper GPU and vLLM. Decodes with and without a window, as vLLM replays them: the kernel was
captured for `max_model_len`, its schedule is made for the batch's longest request. The table has
the rows that are wrong beside a reference in fp32, with that schedule and with one made for
`max_model_len` too, and how many numbers each schedule has.
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from attnbench.provenance.machine import read_machine

DEVICE = "cuda:0"
LIMIT = 131072  # max_model_len
HEADS, KV_HEADS, PAGE = 8, 2, 16
ALLOWED = {"bf16": 0.01, "fp8": 0.1}  # relative L2 error of a row
BATCHES = {
    "4q1kv115_7q1kv25": [115] * 4 + [25] * 7,
    "3q1kv2": [2] * 3,
    "q1_q1kv580_q1kv1488": [1, 580, 1488],
}
WINDOWS = [
    (128, "4q1kv115_7q1kv25"),
    (64, "4q1kv115_7q1kv25"),
    (4096, "3q1kv2"),
    (4096, "q1_q1kv580_q1kv1488"),
    (None, "4q1kv115_7q1kv25"),
]


@dataclass(frozen=True)
class Call:
    """Decodes of a batch; `longest` is what the schedule is made for."""

    head_dim: int
    window: int | None
    batch: str
    dtype: str
    splits: int
    longest: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="write all numbers here, as JSON")
    output: Path | None = parser.parse_args().output
    with torch.inference_mode():
        rows = [_row(call) for call in calls()]
    print(tabulate(rows, headers="keys"))
    if output is not None:
        facts = {"machine": read_machine(DEVICE).as_facts(), "calls": rows}
        output.write_text(json.dumps(facts, indent=1))


def calls() -> list[Call]:
    """Each with both schedules; without a window they are the same."""
    found = [
        Call(dim, window, batch, dtype, splits, max(BATCHES[batch]))
        for dim in (64, 96, 128, 192, 256)
        for window, batch in WINDOWS
        for dtype, splits in (("bf16", 32), ("fp8", 32), ("bf16", 1))
        if splits == 32 or dim == 256
    ]
    both = [(call, replace(call, longest=LIMIT)) for call in found]
    return [each for pair in both for each in pair[: 2 if pair[0].window else 1]]


def _row(call: Call) -> dict[str, Any]:
    torch.manual_seed(0)
    lengths = BATCHES[call.batch]
    pages = -(-max(lengths) // PAGE)
    stored = torch.float8_e4m3fn if call.dtype == "fp8" else torch.bfloat16
    sizes = (len(lengths), HEADS), (2, len(lengths) * pages, PAGE, KV_HEADS)
    query, pool = (
        torch.randn(*size, call.head_dim, device=DEVICE).bfloat16().to(stored) for size in sizes
    )
    table = torch.randperm(len(lengths) * pages, device=DEVICE).view(-1, pages).int()
    schedule, numbers = (
        _schedule(call, stored),
        len(_schedule(replace(call, longest=LIMIT), stored)),
    )
    output = _flash(call, query, pool, table, schedule, numbers)
    error = torch.stack(
        [_error(call, query, pool, table, output, at) for at in range(len(lengths))]
    )
    return {
        **vars(call),
        "numbers": len(schedule),
        "of the graph's": numbers,
        "wrong": int((~(error <= ALLOWED[call.dtype])).sum()),
        "rows": error.numel(),
    }


def _ints(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.int32, device=DEVICE)


def _window(call: Call) -> tuple[int, int]:
    return (-1, -1) if call.window is None else (call.window - 1, 0)


def _schedule(call: Call, stored: torch.dtype) -> torch.Tensor:
    from vllm.vllm_flash_attn import get_scheduler_metadata

    lengths = BATCHES[call.batch]
    found: torch.Tensor = get_scheduler_metadata(
        batch_size=len(lengths),
        max_seqlen_q=1,
        max_seqlen_k=call.longest,
        num_heads_q=HEADS,
        num_heads_kv=KV_HEADS,
        headdim=call.head_dim,
        cache_seqlens=_ints(*lengths),
        qkv_dtype=stored,
        cu_seqlens_q=_ints(*range(len(lengths) + 1)),
        page_size=PAGE,
        causal=True,
        window_size=_window(call),
        num_splits=call.splits,
    )
    return found


def _flash(
    call: Call,
    query: torch.Tensor,
    pool: torch.Tensor,
    table: torch.Tensor,
    schedule: torch.Tensor,
    numbers: int,
) -> torch.Tensor:
    """The kernel of the graph; vLLM copies schedules into memory that it was captured with."""
    from vllm.vllm_flash_attn import flash_attn_varlen_func

    lengths = BATCHES[call.batch]
    held = torch.zeros(4096, dtype=torch.int32, device=DEVICE)
    held[: len(schedule)] = schedule
    output = torch.full(query.shape, float("nan"), dtype=torch.bfloat16, device=DEVICE)
    scale = torch.ones(len(lengths), KV_HEADS, device=DEVICE)
    names = ("q_descale", "k_descale", "v_descale") if call.dtype == "fp8" else ()
    flash_attn_varlen_func(
        q=query,
        k=pool[0],
        v=pool[1],
        out=output,
        cu_seqlens_q=_ints(*range(len(lengths) + 1)),
        max_seqlen_q=1,
        seqused_k=_ints(*lengths),
        max_seqlen_k=LIMIT,
        softmax_scale=call.head_dim**-0.5,
        causal=True,
        window_size=list(_window(call)),
        block_table=table,
        fa_version=3,
        num_splits=call.splits,
        scheduler_metadata=held[:numbers],
        **dict.fromkeys(names, scale),
    )
    return output


def _error(
    call: Call,
    query: torch.Tensor,
    pool: torch.Tensor,
    table: torch.Tensor,
    output: torch.Tensor,
    at: int,
) -> torch.Tensor:
    """The relative L2 error of each head of a request."""
    length = BATCHES[call.batch][at]
    kv = pool.float()[:, table[at].long()].flatten(1, 2)[:, :length]
    keys, values = kv.repeat_interleave(HEADS // KV_HEADS, 2)
    scores = torch.einsum("hd,khd->hk", query[at].float(), keys) * call.head_dim**-0.5
    if call.window is not None:
        scores[:, : max(0, length - call.window)] = float("-inf")
    right = torch.einsum("hk,khd->hd", scores.softmax(-1), values)
    return (output[at].float() - right).norm(dim=-1) / right.norm(dim=-1)


if __name__ == "__main__":
    main()
