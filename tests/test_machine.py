"""Which hardware this is, which other hardware counts as the same, and what it could do at most."""

import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pynvml
import pytest

from attnbench.errors import UsageError
from attnbench.provenance import host, nvml
from attnbench.provenance.machine import Machine, gpus_seen_by_nvml, read_machine
from attnbench.provenance.peaks import Peaks, peaks
from attnbench.running.device import resolve_device

H200 = Machine(
    kind="cuda",
    device="cuda:0",
    name="NVIDIA H200",
    gpu_uuid="GPU-6f0c9c5e-7d0b-4c39-a1b5-0f7f6b1f3a11",
    capability=(9, 0),
    sm_count=132,
    l2_bytes=60 * 2**20,
    memory_bytes=150_119_120_896,
    memory_bus_bits=6144,
    max_sm_clock_hz=1_980_000_000,
    max_memory_clock_hz=3_201_000_000,
    power_limit_watts=700.0,
    ecc=True,
    mig=False,
    driver="580.95.05",
    vbios="96.00.A5.00.01",
    persistence=True,
    cpu_model="INTEL(R) XEON(R) PLATINUM 8558",
    cpu_count=16,
    hostname="node1",
    os="Ubuntu 24.04.1 LTS",
    kernel="6.8.0-60-generic",
    boot_id="ba87c45a-dbe8-4ad5-a8ce-c1f4d7ba955f",
)
LAPTOP = Machine(
    kind="cpu",
    device="cpu",
    name="Intel(R) Xeon(R) Processor",
    cpu_model="Intel(R) Xeon(R) Processor",
    cpu_count=2,
    hostname="laptop",
)


@pytest.mark.parametrize(
    ("machine", "label"),
    [
        (H200, "NVIDIA H200 (SM90)"),
        (replace(H200, name="NVIDIA B300", capability=(10, 3)), "NVIDIA B300 (SM103)"),
        (LAPTOP, "Intel Xeon, 2 cores"),
        (
            replace(LAPTOP, name="Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz"),
            "Intel Core i7-8700, 2 cores",
        ),
        (replace(LAPTOP, name="AMD EPYC 9654 96-Core Processor"), "AMD EPYC 9654, 2 cores"),
        (replace(LAPTOP, name="aarch64", cpu_count=1), "aarch64, 1 core"),
    ],
)
def test_a_label_names_the_model_and_no_more(machine: Machine, label: str) -> None:
    assert machine.label == label


def test_a_cpu_has_no_sm_architecture() -> None:
    assert LAPTOP.sm is None
    assert H200.sm == "SM90"


@pytest.mark.parametrize(
    "other",
    [
        replace(H200, device="cuda:3"),
        replace(H200, driver="570.12", vbios="97", boot_id="another", kernel="6.9"),
        replace(H200, power_limit_watts=500.0, persistence=False),
        replace(H200, memory_bytes=150_119_120_896 - 40 * 2**20),
        replace(H200, hostname="node1-renamed"),
    ],
)
def test_a_card_stays_itself_when_its_settings_and_surroundings_change(other: Machine) -> None:
    assert other.key == H200.key


@pytest.mark.parametrize(
    ("machine", "other"),
    [
        (H200, replace(H200, gpu_uuid="GPU-00000000-0000-0000-0000-000000000000")),
        (LAPTOP, replace(LAPTOP, hostname="node2")),
    ],
)
def test_another_piece_of_one_model_has_another_key_and_the_same_model_key(
    machine: Machine, other: Machine
) -> None:
    assert other.key != machine.key
    assert other.model_key == machine.model_key


@pytest.mark.parametrize(
    ("machine", "other"),
    [
        # The H100 PCIe and SXM cards differ in SMs; an A100's 40 and 80 GB cards in memory alone.
        (H200, replace(H200, sm_count=114)),
        (H200, replace(H200, memory_bus_bits=5120)),
        (H200, replace(H200, memory_bytes=80 * 2**30)),
        (H200, replace(H200, name="NVIDIA H100 80GB HBM3")),
        (LAPTOP, replace(LAPTOP, cpu_count=4)),
        (LAPTOP, replace(LAPTOP, name="AMD EPYC 9654 96-Core Processor")),
        (H200, LAPTOP),
    ],
)
def test_another_model_has_another_model_key(machine: Machine, other: Machine) -> None:
    assert other.model_key != machine.model_key


@pytest.mark.parametrize("machine", [H200, LAPTOP])
def test_facts_survive_json(machine: Machine) -> None:
    facts = machine.as_facts()
    stored = json.loads(json.dumps(facts))
    assert stored == facts
    assert Machine.from_facts(stored) == machine


def test_the_local_machine_is_read() -> None:
    machine = read_machine("cpu")
    assert (machine.kind, machine.device) == ("cpu", "cpu")
    assert machine.name == machine.cpu_model != ""
    assert machine.cpu_count == os.cpu_count()
    assert machine.memory_bytes is not None
    assert machine.memory_bytes > 2**28
    assert machine.kernel == os.uname().release
    assert Machine.from_facts(machine.as_facts()) == machine == read_machine("cpu")


def test_the_last_level_cache_is_at_least_as_large_as_any_other() -> None:
    size = host.last_level_cache_bytes()
    assert size is None or size >= 256 * 1024


@pytest.mark.parametrize("device", ["gpu", "cuda", "cuda:", "cuda:-1", "CPU", ""])
def test_another_device_is_refused_with_an_example(device: str) -> None:
    with pytest.raises(UsageError, match=rf'^--device {device}: .*"cuda:N", e\.g\. --device cuda'):
        read_machine(device)


def test_a_gpu_that_is_not_there_is_refused_with_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"^--device cuda:99: PyTorch can use (no|\d+) GPU"):
        read_machine("cuda:99")


def test_what_nvml_cannot_answer_is_unknown() -> None:
    assert nvml.ask(pynvml.nvmlDeviceGetCount) is None  # not initialised


def test_a_board_that_nvml_does_not_know_has_no_facts_but_its_uuid() -> None:
    uuid = "00000000-0000-0000-0000-000000000000"
    assert nvml.read_board(uuid) == nvml.Board(f"GPU-{uuid}")


def test_gpus_are_named_without_torch_and_without_a_driver() -> None:
    assert all(isinstance(name, str) and name for name in gpus_seen_by_nvml())


@pytest.mark.gpu
def test_a_gpu_is_read_through_cuda_and_nvml_alike() -> None:
    machine = read_machine("cuda:0")
    assert machine.name in gpus_seen_by_nvml()
    assert machine.gpu_uuid is not None
    assert machine.gpu_uuid.startswith(("GPU-", "MIG-"))
    assert machine.driver is not None
    assert machine.max_sm_clock_hz is not None
    assert 0.5e9 < machine.max_sm_clock_hz < 5e9
    assert Machine.from_facts(json.loads(json.dumps(machine.as_facts()))) == machine


@pytest.mark.gpu
def test_a_gpu_does_not_exceed_its_peaks_and_comes_near_them() -> None:
    import torch

    peak = peaks(read_machine("cuda:0"), "bf16")
    if peak is None:
        pytest.skip("the rates of this GPU are unknown")
    size = 8192
    a = torch.randn(size, size, dtype=torch.bfloat16, device="cuda:0")
    memory = torch.empty(2**30, dtype=torch.uint8, device="cuda:0")
    copy = torch.empty_like(memory)
    matmul_share = 2 * size**3 / seconds_on_gpu(lambda: a @ a) / peak.flops_per_second
    copy_share = 2 * 2**30 / seconds_on_gpu(lambda: copy.copy_(memory)) / peak.bytes_per_second
    assert 0.3 < matmul_share < 1
    assert 0.5 < copy_share < 1


def seconds_on_gpu(call: Callable[[], object]) -> float:
    """The mean of ten calls after a first, by CUDA events."""
    import torch

    call()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(10):
        call()
    end.record()
    end.synchronize()
    milliseconds: float = start.elapsed_time(end)
    return milliseconds / 1e3 / 10


class Sheet(NamedTuple):
    """A data sheet's dense figures, with the clocks (MHz) that they are reckoned with.

    NVML's highest SM clock is above those on most parts, so the peaks of a real card come out
    higher than these.
    """

    name: str
    capability: tuple[int, int]
    sms: int
    sm_clock: float
    bus_bits: int
    memory_clock: float
    bf16: float  # TFLOP/s
    fp8: float | None  # TFLOP/s
    bandwidth: float  # GB/s

    @property
    def card(self) -> Machine:
        return replace(
            H200,
            name=self.name,
            capability=self.capability,
            sm_count=self.sms,
            memory_bus_bits=self.bus_bits,
            max_sm_clock_hz=int(self.sm_clock * 1e6),
            max_memory_clock_hz=int(self.memory_clock * 1e6),
        )


SHEETS = [
    Sheet("NVIDIA A100-SXM4-40GB", (8, 0), 108, 1410, 5120, 1215, 312, None, 1555),
    Sheet("NVIDIA A100-SXM4-80GB", (8, 0), 108, 1410, 5120, 1593, 312, None, 2039),
    Sheet("NVIDIA A10", (8, 6), 72, 1695, 384, 6251, 125, None, 600),
    Sheet("NVIDIA A10G", (8, 6), 80, 1710, 384, 6251, 70, None, 600),
    Sheet("NVIDIA L40", (8, 9), 142, 2490, 384, 9001, 181, 362, 864),
    Sheet("NVIDIA L40S", (8, 9), 142, 2490, 384, 9001, 362, 733, 864),
    Sheet("NVIDIA GeForce RTX 4090", (8, 9), 128, 2520, 384, 10501, 165.2, 330, 1008),
    Sheet("NVIDIA H100 80GB HBM3", (9, 0), 132, 1830, 5120, 2619, 989.4, 1978.9, 3352),
    Sheet("NVIDIA H100 PCIe", (9, 0), 114, 1620, 5120, 1593, 756, 1513, 2039),
    Sheet("NVIDIA H100 NVL", (9, 0), 132, 1545, 6016, 2619, 835, 1671, 3938),
    Sheet("NVIDIA B200", (10, 0), 148, 1855, 7680, 3996, 2250, 4500, 7670),
    Sheet("NVIDIA GeForce RTX 5090", (12, 0), 170, 2407, 512, 14001, 209.5, 419, 1792),
    Sheet("NVIDIA RTX PRO 6000", (12, 0), 188, 2617, 512, 14001, 503.8, 1007.6, 1792),
]


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: str(sheet.name))
def test_peaks_agree_with_the_data_sheets(sheet: Sheet) -> None:
    bf16, fp8 = peaks(sheet.card, "bf16"), peaks(sheet.card, "fp8_e4m3")
    assert bf16 is not None
    assert bf16 == peaks(sheet.card, "fp16")
    assert bf16.flops_per_second == pytest.approx(sheet.bf16 * 1e12, rel=0.01)
    assert bf16.bytes_per_second == pytest.approx(sheet.bandwidth * 1e9, rel=0.01)
    assert fp8 is not None
    expected = math.inf if sheet.fp8 is None else sheet.fp8 * 1e12
    assert fp8.flops_per_second == pytest.approx(expected, rel=0.015)


def test_the_peaks_of_an_h200_stand_above_its_data_sheet_by_nvmls_clock() -> None:
    peak = peaks(H200, "bf16")
    assert peak is not None
    assert peak.flops_per_second == pytest.approx(989.4e12 * 1980 / 1830, rel=0.001)
    assert peak.bytes_per_second == pytest.approx(4.917e12, rel=0.001)


def test_fp32_peaks_are_those_of_the_fp32_lanes() -> None:
    peak = peaks(H200, "fp32")
    assert peak is not None
    assert peak.flops_per_second == pytest.approx(66.9e12, rel=0.001)  # as in the data sheet


@pytest.mark.parametrize(
    ("machine", "dtype"),
    [
        (replace(H200, max_sm_clock_hz=None), "bf16"),
        (replace(H200, capability=(7, 0)), "bf16"),
        (replace(H200, capability=(8, 0)), "fp8"),
        (replace(H200, name="NVIDIA H20", sm_count=78), "bf16"),
        (H200, "int4"),
    ],
)
def test_where_the_flop_rate_is_unknown_that_of_memory_is_kept(
    machine: Machine, dtype: str
) -> None:
    assert peaks(machine, dtype) == Peaks(math.inf, 6144 / 8 * 3.201e9 * 2)


@pytest.mark.parametrize(
    "machine",
    [LAPTOP, replace(H200, max_memory_clock_hz=None), replace(H200, memory_bus_bits=None)],
)
def test_without_the_byte_rate_there_are_no_peaks(machine: Machine) -> None:
    assert peaks(machine, "bf16") is None


def test_a_gh200_is_no_h20() -> None:
    assert peaks(replace(H200, name="NVIDIA GH200 480GB"), "bf16") == peaks(H200, "bf16")


@pytest.mark.parametrize("asked", ["auto", "cuda:0"])
def test_a_gpu_of_amd_which_torch_calls_cuda_is_declined_in_a_sentence(
    asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.version, "hip", "6.4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UsageError, match=f"--device {asked}: torch .* is built for ROCm"):
        resolve_device(asked)
    assert resolve_device("cpu") == "cpu"
