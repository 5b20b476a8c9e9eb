"""FlashAttention 3 of vLLM with windows: python benchmarks/flash_window.py

Needs a Hopper GPU and vLLM. One request of random normal data, with and without a window, a soft
cap and sinks. The table has the new tokens whose output is wrong beside a reference in fp32, and
those that are foreseen to see keys behind their own.

With a window the kernel counts the keys of a tile of queries from the first key that its first
query sees. Two limits of its loops over tiles of keys count from the request's first key instead
(`tot_seqlen_k` in hopper/mainloop_fwd_sm90_tma_gmma_ws.hpp of vllm-project/flash-attention): a tile
between them is taken without a mask. It needs one unless the window is whole tiles, and lies
between them where tokens are one to two windows behind the first key.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from attnbench.kernels.arithmetic import attend
from attnbench.provenance.machine import read_machine

DEVICE = "cuda:0"
HEADS, KV_HEADS, DIM, PAGE = 8, 2, 128, 16
ROWS = 128  # of a tile of queries: tokens times the heads that share a KV head
KEYS = 128  # of a tile of keys
ALLOWED = 0.009  # relative L2 error of a row


@dataclass(frozen=True)
class Call:
    """One request of `q_len` new tokens, and the options of attention."""

    q_len: int
    kv_len: int
    window: int | None = None
    softcap: float | None = None
    sinks: bool = False
    splits: int = 1  # of the keys; each has a mask at its end


CALLS = [
    *(Call(300, 777, window) for window in (None, 300, 384, 500, 512)),
    Call(300, 777, 500, softcap=30.0),
    Call(300, 777, 500, sinks=True),
    Call(300, 777, 500, softcap=30.0, sinks=True),
    Call(300, 777, 512, softcap=30.0, sinks=True),
    Call(300, 777, softcap=30.0, sinks=True),
    *(Call(2000, 2000, window) for window in (500, 512, 1000, 1024)),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="write all numbers here, as JSON")
    output: Path | None = parser.parse_args().output
    rows = [_row(call) for call in CALLS]
    print(tabulate(rows, headers="keys", floatfmt=".3g"))
    if output is not None:
        facts = {"machine": read_machine(DEVICE).as_facts(), "calls": rows}
        output.write_text(json.dumps(facts, indent=1))


def _row(call: Call) -> dict[str, Any]:
    error = _errors(call)
    wrong = (error > ALLOWED).any(1).nonzero().flatten().tolist()
    tokens = foreseen(call)
    return {
        **asdict(call),
        "wrong": len(wrong),
        "foreseen": len(tokens),
        "both": len(set(wrong) & set(tokens)),
        "first wrong": wrong[0] if wrong else None,
        "worst error": float(error.max()),
    }


def _errors(call: Call) -> torch.Tensor:
    """The relative L2 error of each row, [tokens, heads]."""
    torch.manual_seed(0)
    pages = -(-call.kv_len // PAGE)
    sizes = [(call.q_len, HEADS), *[(pages, PAGE, KV_HEADS)] * 2]
    query, keys, values = (torch.randn(*n, DIM, device=DEVICE).bfloat16() for n in sizes)
    sinks = (torch.randn(HEADS, device=DEVICE) + 6).bfloat16() if call.sinks else None
    output = _flash(call, query, keys, values, sinks)
    dense = (x.float().flatten(0, 1)[: call.kv_len].transpose(0, 1) for x in (keys, values))
    seen = torch.arange(call.kv_len - call.q_len, call.kv_len, device=DEVICE) + 1
    share = HEADS // KV_HEADS
    expected = attend(
        query.float().unflatten(1, (KV_HEADS, share)).permute(1, 0, 2, 3).flatten(1, 2),
        next(dense),
        next(dense),
        seen.repeat_interleave(share).expand(KV_HEADS, -1),
        DIM**-0.5,
        window=call.window,
        softcap=call.softcap,
        sinks=None if sinks is None else sinks.view(KV_HEADS, share).repeat(1, call.q_len),
    )
    right = expected.view(KV_HEADS, call.q_len, share, DIM).transpose(0, 1).flatten(1, 2)
    return (output.float() - right).norm(dim=-1) / right.norm(dim=-1)


def _flash(
    call: Call,
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    from vllm.vllm_flash_attn import flash_attn_varlen_func

    def ints(*numbers: int) -> torch.Tensor:
        return torch.tensor(numbers, dtype=torch.int32, device=DEVICE)

    output = torch.full_like(query, float("nan"))
    flash_attn_varlen_func(
        q=query,
        k=keys,
        v=values,
        out=output,
        cu_seqlens_q=ints(0, call.q_len),
        max_seqlen_q=call.q_len,
        seqused_k=ints(call.kv_len),
        max_seqlen_k=call.kv_len,
        block_table=ints(*range(len(keys)))[None],
        softmax_scale=DIM**-0.5,
        causal=True,
        window_size=[-1, -1] if call.window is None else [call.window - 1, 0],
        softcap=call.softcap or 0.0,
        num_splits=call.splits,
        fa_version=3,
        s_aux=sinks,
    )
    return output


def foreseen(call: Call) -> list[int]:
    """The new tokens to which a tile of keys without a mask shows later keys."""
    found, share = set[int](), HEADS // KV_HEADS
    context, before = call.kv_len - call.q_len, (call.window or call.kv_len) - 1
    for row in range(0, call.q_len * share, ROWS):
        first, end = row // share, min(call.q_len, (row + ROWS) // share)
        offset = max(0, first + context - before)  # of the first key that is counted
        # The last tile of keys always has a mask.
        last = -(-(min(call.kv_len, end + context) - offset) // KEYS) - 1
        masked_from = (first + context) // KEYS
        plain_from = -(-(end + context - before) // KEYS)
        for tile in range(max(0, plain_from), min(last, masked_from)):
            key = min((tile + 1) * KEYS, call.kv_len - offset) - 1 + offset
            found |= {token for token in range(first, end) if token + context < key}
    return sorted(found)


if __name__ == "__main__":
    main()
