"""Why zeros slow FlashMLA: python benchmarks/flashmla_zeros.py [--out FILE]

Needs an H100 or H200 and vLLM. Direct calls of its dense decode kernel over one working set, the
cache filled in ways that tell causes apart: by what is read, by what the scores are, and by what
comes out. Outputs of nothing but zeros, or too small for a quick fp32 division, cost the same.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flashmla_direct import DEVICE, flashmla, kernel_call, seconds
from tabulate import tabulate

from attnbench.kernels.base import Setting
from attnbench.kernels.registry import find

if TYPE_CHECKING:
    import torch

SPECS = ("16q1kv512", "128q1kv1k", "64q1kv4k")
HEADS, HALF = 128, 256  # of the 512 output columns, which two warpgroups share
TINY = (1e-30, 1e-33, 1e-36, 1e-38)


def fillings(
    q: "torch.Tensor", kv: "torch.Tensor"
) -> "Iterator[tuple[str, torch.Tensor, torch.Tensor]]":
    """A name, queries and a cache [pages, block size, 576] like `kv`, which is random."""
    import torch

    zeros, none = torch.zeros_like(kv), torch.zeros_like(q)
    yield "random", q, kv
    yield "queries 0", none, kv
    yield "cache 0", q, zeros
    yield "cache 0 but for a token a page", q, torch.cat([kv[:, :1], zeros[:, 1:]], dim=1)
    yield "RoPE part 0", q, torch.cat([kv[..., :512], zeros[..., 512:]], dim=-1)
    yield "columns 0 to 255 0", q, torch.cat([zeros[..., :HALF], kv[..., HALF:]], dim=-1)
    parts = (kv[..., :HALF], zeros[..., HALF:512], kv[..., 512:])
    yield "columns 256 to 511 0", q, torch.cat(parts, dim=-1)
    opposite = torch.stack([kv[:, ::2], -kv[:, ::2]], dim=2).flatten(1, 2)
    yield "tokens cancel, output not 0", q, opposite
    yield "queries 0, tokens cancel: output 0", none, opposite
    for value in TINY:
        yield f"cache all {value:g}", q, torch.full_like(kv, value)


def rows_of(spec: str) -> Iterator[dict[str, Any]]:
    """Each filling's time, s, and the SM clock meanwhile, Hz."""
    import torch

    prepared: Any = find("mla", "flashmla").prepare(
        flashmla(spec, HEADS), Setting(DEVICE, 1, seed=0)
    )
    random = torch.randn_like(prepared.pool.stored)
    for name, queries, cache in fillings(prepared.decode_queries[0], random):
        call = kernel_call(prepared, 0, queries, cache)
        call()
        taken, hertz, _ = seconds([call])
        yield {"filling": name, "spec": spec, "seconds": taken, "sm_clock_hz": hertz}


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with torch.inference_mode():
        rows = [row for spec in SPECS for row in rows_of(spec)]
    names = list(dict.fromkeys(row["filling"] for row in rows))
    table = [
        [name, *(f"{1e6 * row['seconds']:.1f}" for row in rows if row["filling"] == name)]
        for name in names
    ]
    print(tabulate(table, ("filling", *SPECS), disable_numparse=True))
    print("microseconds a call")
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
