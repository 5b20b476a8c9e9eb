"""The sentinels of this computer's CPU, and the drift between two readings."""

import json
import math
import time
from dataclasses import replace

import pytest

from attnbench.timing.sentinels import Sentinels, drift, measure_sentinels

GPU = Sentinels(4.25e12, 3.9e12, 781e12, 1.2e-6, 4e-6)
CPU = Sentinels(2e10, 1.5e10, 1e11)


def test_a_cpu_has_rates_that_a_cpu_can_have_and_no_launches() -> None:
    started = time.process_time()
    sentinels = measure_sentinels("cpu")
    assert time.process_time() - started < 5  # in which nobody else's work counts
    assert 1e8 < sentinels.bytes_per_second < 1e13
    assert 1e8 < sentinels.read_bytes_per_second < 1e13
    assert 1e8 < sentinels.flops_per_second < 1e14
    assert sentinels.launch_seconds is None
    assert sentinels.event_seconds is None


@pytest.mark.parametrize("sentinels", [GPU, CPU])
def test_sentinels_read_back_from_json(sentinels: Sentinels) -> None:
    assert Sentinels.from_facts(json.loads(json.dumps(sentinels.as_facts()))) == sentinels


def test_a_device_that_did_not_change_has_no_drift() -> None:
    assert set(drift(GPU, GPU).values()) == {0.0}


def test_drift_is_the_logarithm_of_each_ratio() -> None:
    later = Sentinels(4.25e12 * 1.01, 3.9e12, 781e12 / 2, 1.2e-6, 8e-6)
    assert drift(GPU, later) == pytest.approx(
        {
            "bytes_per_second": math.log(1.01),
            "read_bytes_per_second": 0,
            "flops_per_second": -math.log(2),
        }
    )


def test_launching_is_a_fact_of_the_process_and_no_drift() -> None:
    assert set(drift(GPU, replace(GPU, launch_seconds=9e-6, event_seconds=9e-6)).values()) == {0.0}
