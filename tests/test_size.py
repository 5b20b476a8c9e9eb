"""What cannot fit is refused by its size."""

from dataclasses import replace

from attnbench.running.size import size_refusal
from tests.stored_results import H200, attn


def test_only_what_outgrows_the_device_is_refused() -> None:
    assert size_refusal(attn("256q1kv8k"), H200) is None
    assert size_refusal(attn("256q1kv128k"), H200) == (
        "needs 256 GiB for one set of inputs and outputs; NVIDIA H200 has 140"
    )


def test_nothing_is_refused_where_the_memory_is_not_known() -> None:
    assert size_refusal(attn("256q1kv128k"), replace(H200, memory_bytes=None)) is None
