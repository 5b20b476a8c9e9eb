"""What a layer's other kernels add to a decode: python benchmarks/layer_kernels.py [--output FILE]

Needs an NVIDIA GPU and vLLM. A row has a layer's matrix products before each call. A server also
has norms, the MLP's activation, RoPE, and in MLA the product with W_UK; each of them stands behind
the products here, then all of them, and the call is timed as in a row.
"""

import json
from collections.abc import Callable, Iterator
from itertools import product
from statistics import median
from typing import Any

import torch
from between_calls import SERVED, asked, case_of, made_cold
from tabulate import tabulate

from attnbench.kernels.base import Refused
from attnbench.specs.case import Case
from attnbench.specs.layer import HIDDEN, MLP, w_uk_product
from attnbench.specs.shape import AttnShape, MlaShape
from attnbench.timing.layer import LayerClock, products_of

DEVICE = "cuda:0"
SPECS = ("q1kv1k", "q1kv4k", "8q1kv1k")
WARM, SAMPLES = 3, 12
EPSILON = 1e-6
Work = Callable[[], object]


def main() -> None:
    given = asked(__doc__, SPECS)
    found = []
    with torch.inference_mode():
        for spec, backend in product(given.specs, given.backends):
            found.append({"backend": backend, "batch": spec, **line(backend, spec)})
            if given.output:
                given.output.write_text(json.dumps(found, indent=1))
    print(tabulate(found, headers="keys", floatfmt=".2f"))


def line(backend: str, spec: str) -> dict[str, Any]:
    """Microseconds of a call, by what stands before it."""
    case = case_of(backend, spec, SERVED[backend])
    try:
        ready = made_cold(case)
    except Refused as refused:
        return {"refused": str(refused)}
    products, more = products_of(case, DEVICE, w_uk=False), dict(kernels(case))
    found = {"sets": len(ready.calls), "row": timed(ready.calls, products)}
    for name, work in more.items():
        found[name] = timed(ready.calls, chain(products, work))
    found["all"] = timed(ready.calls, chain(products, *more.values()))
    return found | {"row again": timed(ready.calls, products)}


def timed(calls: Any, work: Work) -> float:
    """The median microseconds of a call behind that work."""
    clock = LayerClock.of(calls, work, DEVICE, None)
    samples = [clock.sample() for _ in range(WARM + SAMPLES)]
    return 1e6 * median(samples[WARM:])


def chain(*works: Work) -> Work:
    """All of it, one after another."""

    def run() -> None:
        for work in works:
            work()

    return run


def normal(*size: int) -> torch.Tensor:
    return torch.randn(*size, device=DEVICE, dtype=torch.bfloat16)


def kernels(case: Case) -> Iterator[tuple[str, Work]]:
    """A layer's kernels beside its products and attention, each over memory of its own."""
    from vllm import _custom_ops as ops

    rows, shape = case.batch.num_tokens, case.shape
    values, added, ones = normal(rows, HIDDEN), normal(rows, HIDDEN), normal(HIDDEN).fill_(1)
    yield "a norm", lambda: ops.fused_add_rms_norm(values, added, ones, EPSILON)
    gates, half = normal(rows, 2 * MLP), normal(rows, MLP)
    yield "activation", lambda: torch.ops._C.silu_and_mul(half, gates)
    if isinstance(shape, MlaShape):
        heads, keys, dim = shape.num_q_heads, 1, shape.qk_rope_head_dim
    else:
        assert isinstance(shape, AttnShape)
        heads, keys, dim = shape.num_q_heads, shape.num_kv_heads, shape.head_dim
    positions, angles = torch.arange(rows, device=DEVICE), normal(4096, dim)
    rotated = normal(rows, heads * dim), normal(rows, keys * dim)
    yield "RoPE", lambda: ops.rotary_embedding(positions, *rotated, dim, angles, True)
    if sizes := w_uk_product(case):
        queries, up, latent = (normal(*size) for size in sizes)
        yield "W_UK", lambda: torch.bmm(queries, up, out=latent)


if __name__ == "__main__":
    main()
