"""Variables that the installed vLLM does not read are remarked on, as its engine does."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from attnbench.provenance.environment import Component, Environment
from attnbench.provenance.vllm_variables import unread_variables
from attnbench.running.plan import Plan
from attnbench.timing.method import Method
from tests.conftest import small_case
from tests.fake_worker import FakeDevice, measuring
from tests.test_environment import install

READ = 'environment_variables = {\n    "VLLM_BATCH_INVARIANT": lambda: False,\n}\n'
GONE = "vLLM 0.25.1 does not know VLLM_FLASH_ATTN_VERSION: set, but without effect"


@pytest.fixture(autouse=True)
def _vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "vllm", "0.25.1", {"url": "https://example.org/wheel", "archive_info": {}})
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "envs.py").write_text(READ)
    monkeypatch.syspath_prepend(tmp_path)


def beside(vllm: str | None, variables: Mapping[str, str]) -> Environment:
    found = {} if vllm is None else {"vllm": Component(vllm)}
    return Environment("3.12.3", components=found, variables=variables)


@pytest.mark.parametrize(
    ("vllm", "names", "remark"),
    [
        ("0.25.1", ["VLLM_FLASH_ATTN_VERSION", "VLLM_BATCH_INVARIANT"], GONE),
        ("0.25.1", ["VLLM_A", "VLLM_B"], GONE.replace("VLLM_FLASH_ATTN_VERSION", "VLLM_A, VLLM_B")),
        ("0.25.1", ["VLLM_BATCH_INVARIANT"], None),
        ("0.25.1", ["FLASHINFER_LOGLEVEL"], None),
        ("0.9.2", ["VLLM_FLASH_ATTN_VERSION"], None),
        (None, ["VLLM_FLASH_ATTN_VERSION"], None),
    ],
)
def test_variables_that_the_installed_vllm_does_not_know(
    vllm: str | None, names: list[str], remark: str | None
) -> None:
    assert unread_variables(beside(vllm, dict.fromkeys(names, "1"))) == remark


def test_a_run_says_so_when_it_begins(tmp_path: Path) -> None:
    device = FakeDevice(environment=beside("0.25.1", {"VLLM_FLASH_ATTN_VERSION": "2"}))
    with measuring(device, Plan((small_case(),), (Method("cpu"),), rounds=1), tmp_path):
        assert GONE in device.notes
