"""FlashInfer's ragged keys from 2^32 elements on: python benchmarks/ragged_offsets.py

Needs a Hopper GPU with 30 GB free and FlashInfer. Calls the kernel with requests of one new token,
which all see 4096 keys of 128 heads, and compares every row with a reference in fp32. Keys have 192
elements, so 2^32 elements end within request 42, counted from 0.
"""

import torch
from flashinfer import BatchPrefillWithRaggedKVCacheWrapper

DEVICE = "cuda:0"
HEADS, KEYS, KEY_DIM, VALUE_DIM = 128, 4096, 192, 128
ALLOWED = 0.02  # relative L2 error of a row
WORKSPACE = 2**29
CALLS = (("fa2", 42), ("fa2", 43), ("fa2", 64), ("fa2", 66), ("fa3", 43), ("fa3", 66))


def main() -> None:
    with torch.inference_mode():
        for backend, requests in CALLS:
            torch.cuda.empty_cache()
            off = errors(backend, requests)
            wrong = ~(off < ALLOWED)
            found = wrong.any(1).nonzero().flatten().tolist()
            rows, worst = wrong.sum(1)[found].tolist(), max(off[wrong].tolist(), default=0.0)
            print(
                f"{backend}, {requests} requests of {KEYS} keys, {HEADS} heads: "
                f"{share(requests, KEY_DIM)} x 2^32 elements of keys, "
                f"{share(requests, VALUE_DIM)} of values: wrong requests {found}, "
                f"rows of {HEADS}: {rows}, worst {worst:.3g}"
            )


def share(requests: int, width: int) -> str:
    """The elements of all keys, or values, in 2^32."""
    return f"{requests * KEYS * HEADS * width / 2**32:.3f}"


def errors(backend: str, requests: int) -> torch.Tensor:
    """The relative L2 error of each row: fp32 [requests, heads]."""
    query = torch.randn(requests, HEADS, KEY_DIM, device=DEVICE).bfloat16()
    keys, values = drawn(requests, KEY_DIM), drawn(requests, VALUE_DIM)
    workspace = torch.zeros(WORKSPACE, dtype=torch.uint8, device=DEVICE)
    wrapper = BatchPrefillWithRaggedKVCacheWrapper(workspace, "NHD", backend=backend)
    starts, scale = torch.arange(requests + 1, dtype=torch.int32), KEY_DIM**-0.5
    wrapper.plan(
        starts,
        starts * KEYS,
        HEADS,
        HEADS,
        KEY_DIM,
        head_dim_vo=VALUE_DIM,
        causal=True,
        sm_scale=scale,
        q_data_type=torch.bfloat16,
        kv_data_type=torch.bfloat16,
    )
    out = wrapper.run(query, keys, values)
    each = zip(query, keys.split(KEYS), values.split(KEYS), strict=True)
    expected = torch.stack([reference(*parts, scale) for parts in each])
    return (out - expected).norm(dim=-1) / expected.norm(dim=-1)


def drawn(requests: int, width: int) -> torch.Tensor:
    """Random keys or values in bf16, [tokens, heads, width], in parts: in fp32 all are too many."""
    found = torch.empty(requests * KEYS, HEADS, width, dtype=torch.bfloat16, device=DEVICE)
    for part in found.split(KEYS):
        part.normal_()
    return found


def reference(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float
) -> torch.Tensor:
    """Attention of one token over all keys of its request, fp32 [heads, width]."""
    scores = torch.einsum("hd,khd->hk", query.float(), keys.float()) * scale
    return torch.einsum("hk,khd->hd", scores.softmax(-1), values.float())


if __name__ == "__main__":
    main()
