"""MLA's decodes by the form of their queries: python benchmarks/query_forms.py [--output FILE]

Needs an NVIDIA GPU and vLLM. A row of scope kernel hands over queries as the kernel takes them. A
server hands over two parts, of which W_UK's product leaves the latent one transposed and the RoPE
one is a part of longer rows; FLASHMLA and TRITON_MLA join them. Both are timed behind a layer.
"""

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any

import torch
from between_calls import made_cold
from layer_kernels import DEVICE, timed
from tabulate import tabulate

from attnbench.kernels.base import Refused
from attnbench.kernels.vllm.mla_prepared import VllmMlaPrepared
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import MlaShape
from attnbench.timing.layer import products_of

BACKENDS = ("flashmla", "flashattn_mla", "triton_mla")
SPECS = ("q1kv1k", "q1kv4k", "8q1kv1k", "64q1kv1k", "64q1kv4k", "256q1kv1k")
DEEPSEEK = (("max_model_len", 163840),)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS[:2])
    parser.add_argument("--heads", nargs="+", type=int, default=[16, 128])
    parser.add_argument("--specs", nargs="+", default=SPECS)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    found = []
    with torch.inference_mode():
        for heads, spec, backend in product(given.heads, given.specs, given.backends):
            shape = MlaShape(heads)
            case = Case("mla", backend, parse_batch_spec(spec), shape, "bf16", knobs=DEEPSEEK)
            found.append({"heads": heads, "batch": spec, "backend": backend, **line(case)})
            if given.output:
                given.output.write_text(json.dumps(found, indent=1))
    print(tabulate(found, headers="keys", floatfmt=".2f"))


def line(case: Case) -> dict[str, Any]:
    """Microseconds of a call, by the form of its queries."""
    try:
        ready = made_cold(case)
    except Refused as refused:
        return {"refused": str(refused)}
    assert isinstance(ready, VllmMlaPrepared)
    products = products_of(case, DEVICE)
    as_in_rows, found = list(ready.kernel_queries), dict[str, float](sets=len(ready.calls))
    found["row"] = timed(ready.calls, products)
    ready.kernel_queries[:] = [as_in_a_server(each, ready.shape) for each in ready.decode_queries]
    found["as in a server"] = timed(ready.calls, products)
    ready.kernel_queries[:] = as_in_rows
    found["row again"] = timed(ready.calls, products)
    return found | {"difference": found["as in a server"] - (found["row"] + found["row again"]) / 2}


def as_in_a_server(queries: torch.Tensor, shape: MlaShape) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries [tokens, heads, latent] as `MLAAttention.forward_impl` passes them."""
    latent, rope = queries.split([shape.kv_lora_rank, shape.qk_rope_head_dim], dim=-1)
    whole = queries.new_zeros((*queries.shape[:2], shape.qk_head_dim))
    whole[..., shape.qk_nope_head_dim :] = rope
    by_head = latent.transpose(0, 1).contiguous()
    return by_head.transpose(0, 1), whole[..., shape.qk_nope_head_dim :]


if __name__ == "__main__":
    main()
