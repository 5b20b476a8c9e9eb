"""The suite's mode mha_vs_mqa: MHA over all keys against MQA over the keys a sparse model selects.

The MHA side is vLLM's prefill path, reached through a dense backend. Both sides run at scope layer,
so they start from the same queries.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from attnbench.specs.batch import parse_batch_spec

MODE = "mha_vs_mqa"
QUESTION = "Is MHA over all keys or MQA over 2048 selected keys faster?"
_DENSE = "triton_mla"  # runs on every GPU; its decode kernel is not used
_VARIANTS = ("dense_mha", "masked_mha", "mqa")


def against_dense(backends: Sequence[str]) -> dict[str, Any]:
    """The answer: each sparse backend against MHA."""
    pairs = [[_DENSE, backend] for backend in backends]
    return {"contrast": {"field": "backend", "pairs": pairs, "tune": ["threshold", "force_mqa"]}}


def both_sides(backends: Sequence[str], pattern: str) -> list[dict[str, Any]]:
    """The backends of each side with their settings."""
    selected = {"index_topk": 2048, "topk_pattern": pattern}
    return [
        {"backend": [_DENSE], "knobs": {"threshold": [1]}},
        {"backend": list(backends), "knobs": {"force_mqa": [True]}, **selected},
    ]


def compared(
    config: MutableMapping[str, Any], batches: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """The batches that both sides take, and what is dropped, with the reason.

    Takes the mode's own keys out of the config. A template's batches are all kept.
    """
    dense, masked = (config.pop(f"sparse_mla_{v}_max_seq_len", None) for v in _VARIANTS[:2])
    variants = config.pop("sparse_mla_mha_variants", None) or _VARIANTS
    most = dense if "dense_mha" in variants else masked
    dropped = []
    if "masked_mha" in variants:
        dropped.append(("masked_mha", "no backend masks MHA; over all keys it multiplies as much"))
    kept = []
    for each in batches:
        specs = each["batch"]
        taken = [s for s in specs if _has_mha(s, most)] if isinstance(specs, list) else specs
        if len(taken) < len(specs):
            limit = f" or over {most}" if most else ""
            count = f"{len(specs) - len(taken)} batch_specs"
            dropped.append((count, f"requests of one new token{limit} have no MHA to compare"))
        kept.append({**each, "batch": taken})
    return [each for each in kept if each["batch"]], dropped


def _has_mha(spec: str, most: int | None) -> bool:
    longest = parse_batch_spec(spec).max_q_len
    return longest > 1 and (most is None or longest <= most)
