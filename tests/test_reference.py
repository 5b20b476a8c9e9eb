"""The reference takes the rows of many requests together, and each is as if it were alone."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from attnbench.kernels import reference
from attnbench.kernels.base import Setting
from attnbench.kernels.registry import find
from attnbench.kernels.rows import Rows
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape, MlaShape

DECODES = "q1kv90_q1kv40_q1kv86_3q1kv17_q1kv33_q1kv70"
MIXED = f"{DECODES}_q5kv60_q20"
HEADS, LATENTS = AttnShape(4, 2, 64), MlaShape(4, 512, 128, 64, 128)


def prepared(spec: str, family: str, backend: str, **fields: object) -> Any:
    shape = HEADS if family == "attn" else LATENTS
    case = Case(family, backend, parse_batch_spec(spec), shape, "bf16", **fields)  # type: ignore[arg-type]
    with torch.inference_mode():
        return find(family, backend).prepare(case, Setting("cpu", 2, 0))


def alone(ready: Any) -> None:
    """Let it take no request with another."""
    ready.attend = partial(ready.attend)


@pytest.mark.parametrize(("requests", "kv_heads"), [(1, 8), (3, 8), (7, 8), (8, 8), (5, 1)])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_kv_head_of_every_request_has_a_row(requests: int, kv_heads: int, seed: int) -> None:
    batch, shape = parse_batch_spec(f"{requests}q1kv20"), AttnShape(16, kv_heads, 64)
    case = Case("attn", "naive", batch, shape, "bf16")
    ready: Any = find("attn", "naive").prepare(case, Setting("cpu", 1, 0))
    rows = ready.spread(requests * kv_heads, seed)
    assert sorted(rows.flatten().tolist()) == list(range(requests * 16))


@pytest.mark.parametrize("spec", [DECODES, MIXED])
@pytest.mark.parametrize(
    ("family", "backend", "fields"),
    [
        ("attn", "naive", {}),
        ("attn", "naive", {"window": 30}),
        ("attn", "sdpa", {}),
        ("mla", "torch-absorbed", {}),
        ("mla", "torch-absorbed", {"scope": "layer"}),
        ("mla", "torch-absorbed", {"kv_cache_dtype": "fp8"}),
        ("mla", "torch-mha", {"kv_cache_dtype": "fp8"}),
    ],
)
def test_rows_taken_with_longer_requests_are_as_if_alone(
    spec: str, family: str, backend: str, fields: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(reference.MOST_PADDING, "cpu", 2**40)
    monkeypatch.setitem(reference.WHOLE_SECONDS, "cpu", 100.0)
    ready = prepared(spec, family, backend, **fields)
    rows = ready.spread(50, 3)
    sets = torch.arange(len(rows)) % 2
    together = ready.expected(sets, rows), *ready.whole(1)
    alone(ready)
    apart = ready.expected(sets, rows), *ready.whole(1)
    for found, right in zip(together, apart, strict=True):
        assert torch.allclose(found, right, rtol=0, atol=2e-6)


def test_as_few_keys_are_gathered_for_nothing_as_launches_are_worth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ready, taken = prepared(DECODES, "attn", "naive"), list[int]()
    attended = ready.attended

    def recorded(rows: Rows) -> torch.Tensor:
        taken.append(rows.group.kv_len)
        result: torch.Tensor = attended(rows)
        return result

    ready.attended = recorded
    for padding, lengths in (
        (0, [90, 40, 86, 17, 33, 70]),
        (2 * 20 * 128, [90, 40, 17]),
        (2**40, [90]),
    ):
        taken.clear()
        monkeypatch.setitem(reference.MOST_PADDING, "cpu", padding)
        rows = ready.spread(0, 0)
        ready.expected(torch.zeros(len(rows), dtype=torch.int64), rows)
        assert sorted(taken) == sorted(lengths)


PLACED = """
from pathlib import Path
import torch
from attnbench.kernels.base import Setting
from attnbench.kernels.registry import find
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape

torch.set_num_threads(1)
case = Case("attn", "naive", parse_batch_spec("q1kv8"), AttnShape(8, 1, 64), "bf16")
ready = find("attn", "naive").prepare(case, Setting("cpu", 1, 0))
torch.set_num_threads(4)
before = len(list(Path("/proc/self/task").iterdir()))
rows = ready.spread(512, 0)
ready.attended = lambda rows: torch.zeros(*rows.tokens.shape, 0)  # on a GPU, if there is one
ready.expected(torch.zeros(len(rows), dtype=torch.int64), rows)
print(before, len(list(Path("/proc/self/task").iterdir())))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads as Linux does")
def test_choosing_and_placing_rows_wakes_no_other_thread() -> None:
    """Where a container is limited to few of a host's cores, waking them takes tens of ms."""
    run = subprocess.run([sys.executable, "-c", PLACED], capture_output=True, text=True, check=True)
    before, after = run.stdout.split()
    assert before == after
