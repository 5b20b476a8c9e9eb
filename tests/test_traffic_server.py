"""The model of a server: memory that the weights leave, and time that they take."""

import numpy as np
import pytest

from attnbench.specs.shape import MODEL_LAYERS
from attnbench.traffic.schedule import Schedule
from attnbench.traffic.server import MODEL_WEIGHTS, Server


@pytest.mark.parametrize(
    ("model", "tp", "token_bytes", "weights"),
    [
        ("llama3-8b", 1, 32 * 2 * 8 * 128 * 2, 2 * 8.03e9),
        ("llama3-70b", 8, 80 * 2 * 1 * 128 * 2, 2 * 70.6e9 / 8),
        ("deepseek-v3", 8, 61 * 576 * 2, 671e9 / 8),
    ],
)
def test_the_cache_has_the_memory_that_the_weights_leave(
    model: str, tp: int, token_bytes: int, weights: float
) -> None:
    tokens = Server(model, tp, "h200").kv_tokens()
    assert tokens == int((0.92 * 141e9 - weights) / token_bytes)


@pytest.mark.parametrize("tp", [1, 8])
def test_a_decode_reads_all_weights_of_a_dense_model_once(tp: int) -> None:
    server = Server("llama3-70b", tp, "h200")
    one = Schedule.of_batches([[(1, 1)]])
    seconds = server.step_seconds(one.work(decode=True), one.work(decode=False))
    attention = 80 * server.attention_seconds(one.work(decode=True), one.work(decode=False))
    assert (seconds - attention)[0] == pytest.approx(2 * 70.6e9 / tp / 4.8e12)


def test_one_token_reads_the_experts_that_it_uses_and_many_read_all() -> None:
    touched = MODEL_WEIGHTS["deepseek-v3"].touched(np.array([1.0, 10.0, 10000.0]))
    assert touched == pytest.approx([37e9, 671e9 * (1 - (1 - 37 / 671) ** 10), 671e9])


def test_every_model_with_layers_has_weights() -> None:
    assert MODEL_WEIGHTS.keys() == MODEL_LAYERS.keys()
