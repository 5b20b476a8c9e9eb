"""The model of a server: memory that the weights leave, and time that they take."""

import pytest

from attnbench.traffic.schedule import Schedule
from attnbench.traffic.server import Server


@pytest.mark.parametrize(
    ("model", "tp", "token_bytes", "weights"),
    [
        ("llama3-8b", 1, 32 * 2 * 8 * 128 * 2, 2 * 8.03e9),
        ("llama3-70b", 8, 80 * 2 * 1 * 128 * 2, 2 * 70.55e9 / 8),
        ("deepseek-v3", 8, 61 * 576 * 2, 671.03e9 / 8),
    ],
)
def test_the_cache_has_the_memory_that_the_weights_leave(
    model: str, tp: int, token_bytes: int, weights: float
) -> None:
    tokens = Server(model, tp, "h200").kv_tokens()
    assert tokens == pytest.approx((0.92 * 141e9 - weights) / token_bytes, rel=1e-3)


@pytest.mark.parametrize("tp", [1, 8])
def test_a_decode_reads_the_weights_of_a_dense_model_once_but_for_the_embedding(tp: int) -> None:
    server = Server("llama3-70b", tp, "h200")
    one = Schedule.of_batches([[(1, 1)]])
    seconds = server.step_seconds(one.work(decode=True), one.work(decode=False))
    attention = 80 * server.attention_seconds(one.work(decode=True), one.work(decode=False))
    assert (seconds - attention)[0] == pytest.approx(2 * 69.5e9 / tp / 4.8e12, rel=1e-3)
