"""What two readings of a GPU, before and after the samples, say of a measurement."""

from dataclasses import replace

import pytest

from attnbench.timing.guard import (
    HW_POWER_BRAKE,
    HW_SLOWDOWN,
    HW_THERMAL,
    SW_POWER_CAP,
    SW_THERMAL,
    GpuGuard,
    Reading,
    guard_facts,
)

GPU_IDLE = 0x01  # a reason that no label is for
BEFORE = Reading(
    sm_clock_hz=1980e6,
    memory_clock_hz=3201e6,
    max_memory_clock_hz=3201e6,
    event_reasons=0,
    power_violation=100.0,
    thermal_violation=2.0,
    joules=5e6,
    watts=300.0,
    temperature=40.0,
    processes=1,
)
AFTER = replace(BEFORE, joules=5e6 + 650, watts=640.0, temperature=47.0)


def test_a_quiet_measurement_has_no_label() -> None:
    facts, labels = guard_facts(BEFORE, AFTER, 1.0)
    assert labels == ()
    assert facts == {
        "sm_clock_hz_before": 1980e6,
        "sm_clock_hz_after": 1980e6,
        "memory_clock_hz": 3201e6,
        "temperature": 47.0,
        "watts": 640.0,
        "joules": pytest.approx(650),
        "mean_watts": pytest.approx(650),
        "power_limited_share": 0.0,
        "thermal_share": 0.0,
        "processes": 1.0,
    }


@pytest.mark.parametrize(
    ("end", "labels"),
    [
        ({"power_violation": 100.04}, ()),
        ({"power_violation": 100.06}, ("power_limited",)),
        ({"event_reasons": SW_POWER_CAP}, ("power_limited",)),
        ({"event_reasons": GPU_IDLE}, ()),
        ({"thermal_violation": 2.001}, ("thermal",)),
        ({"event_reasons": HW_SLOWDOWN}, ("thermal",)),
        ({"event_reasons": SW_THERMAL}, ("thermal",)),
        ({"event_reasons": HW_THERMAL}, ("thermal",)),
        ({"event_reasons": HW_POWER_BRAKE | GPU_IDLE}, ("thermal",)),
        ({"sm_clock_hz": 1890e6}, ()),
        ({"sm_clock_hz": 1860e6}, ("clock_moved",)),
        ({"sm_clock_hz": 2100e6}, ("clock_moved",)),
        ({"memory_clock_hz": 3100e6}, ()),  # a GeForce under CUDA stays so far below
        ({"memory_clock_hz": 2900e6}, ("memory_clock",)),
        ({"processes": 2}, ("shared_gpu",)),
        (
            {"power_violation": 100.9, "sm_clock_hz": 1400e6},
            ("power_limited", "clock_moved"),
        ),
    ],
)
def test_what_changed_during_a_second_of_samples_is_labelled(
    end: dict[str, float], labels: tuple[str, ...]
) -> None:
    assert guard_facts(BEFORE, replace(AFTER, **end), 1.0)[1] == labels  # type: ignore[arg-type]


def test_a_memory_clock_that_rose_only_after_the_first_sample_is_labelled() -> None:
    """As GDDR's does that was idle between two cases."""
    assert guard_facts(replace(BEFORE, memory_clock_hz=405e6), AFTER, 1.0)[1] == ("memory_clock",)


def test_heat_that_ended_before_the_last_sample_is_labelled_too() -> None:
    _, labels = guard_facts(replace(BEFORE, event_reasons=SW_THERMAL), AFTER, 1.0)
    assert labels == ("thermal",)


def test_a_power_cap_that_ended_before_the_first_sample_is_not_of_these_samples() -> None:
    facts, labels = guard_facts(replace(BEFORE, event_reasons=SW_POWER_CAP), AFTER, 1.0)
    assert labels == ()
    assert facts["sw_power_cap"] == 1.0


def test_a_process_that_left_meanwhile_shared_the_gpu() -> None:
    assert guard_facts(replace(BEFORE, processes=2), AFTER, 1.0)[1] == ("shared_gpu",)


def test_shares_are_of_the_sampling_time() -> None:
    facts, _ = guard_facts(BEFORE, replace(AFTER, power_violation=100.5), 2.0)
    assert facts["power_limited_share"] == pytest.approx(0.25)
    assert facts["mean_watts"] == pytest.approx(325)


def test_energy_over_less_than_its_counter_resolves_is_not_told() -> None:
    facts, _ = guard_facts(BEFORE, AFTER, 0.02)
    assert facts.keys() & {"joules", "mean_watts"} == set()


def test_counters_are_shares_of_the_time_between_their_own_readings() -> None:
    before, after = replace(BEFORE, counted_at=10.0), replace(AFTER, counted_at=14.0)
    own, _ = guard_facts(before, after, 2.0)
    sampling, _ = guard_facts(BEFORE, AFTER, 4.0)
    assert own["power_limited_share"] == sampling["power_limited_share"]
    assert own["mean_watts"] == sampling["mean_watts"]
    assert own["joules"] == own["mean_watts"] * 2.0


@pytest.mark.parametrize(("before", "after"), [(Reading(), Reading()), (Reading(), AFTER)])
def test_what_nvml_does_not_say_labels_nothing(before: Reading, after: Reading) -> None:
    assert guard_facts(before, after, 1.0)[1] == ()


def test_nothing_known_is_no_fact() -> None:
    assert guard_facts(Reading(), Reading(), 1.0) == ({}, ())


@pytest.mark.parametrize("uuid", [None, "GPU-00000000-0000-0000-0000-000000000000"])
def test_a_gpu_that_nvml_does_not_know_reads_as_unknown(uuid: str | None) -> None:
    assert GpuGuard(uuid).look(True)() == Reading()
