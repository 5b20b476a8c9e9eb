"""Parameters counted from the fields of configurations, against published totals."""

import numpy as np
import pytest

from attnbench.specs.models import MODELS
from attnbench.traffic.weights import MODEL_WEIGHTS

# Billions: Llama 3 (arXiv:2407.21783; Hugging Face counts), Qwen3 (2505.09388), gpt-oss
# (2508.10925), DeepSeek-V2 and Lite (2405.04434), DeepSeek-V3 (README_WEIGHTS.md, without MTP),
# Kimi K2 (2507.20534), GLM-5 (2602.15763).
PUBLISHED = {
    "llama3-8b": (8.03, None),
    "llama3-70b": (70.6, None),
    "llama3-405b": (406, None),
    "qwen3-8b": (8.2, None),
    "qwen3-32b": (32.8, None),
    "gpt-oss-120b": (116.83, 5.13),
    "deepseek-v2": (236, 21),
    "deepseek-v2-lite": (15.7, 2.4),
    "deepseek-v3": (671, 36.6),
    "kimi-k2": (1040, 32),
    "glm-5": (744, 40),
}


@pytest.mark.parametrize("model", MODELS)
def test_counted_parameters_are_the_published_ones(model: str) -> None:
    found, (total, active) = MODEL_WEIGHTS[model], PUBLISHED[model]
    assert found.parameters / 1e9 == pytest.approx(total, rel=0.02)
    if active is not None:
        assert found.active / 1e9 == pytest.approx(active, rel=0.025)


def test_experts_in_mxfp4_make_the_published_checkpoint() -> None:
    assert MODEL_WEIGHTS["gpt-oss-120b"].bytes / 2**30 == pytest.approx(60.8, rel=0.01)


def test_one_token_reads_its_experts_and_many_read_all_of_them_but_no_embedding() -> None:
    weights = MODEL_WEIGHTS["deepseek-v3"]
    touched = weights.touched(np.array([1.0, 10.0, 10000.0]))
    routed = 58 * 256 * 3 * 7168 * 2048
    always = weights.parameters - 129280 * 7168 - routed
    some = always + routed * (1 - (1 - 8 / 256) ** 10)
    assert touched == pytest.approx([weights.active, some, always + routed])
