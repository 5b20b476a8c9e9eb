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

READ = 'environment_variables = {  # é\n    "VLLM_BATCH_INVARIANT": lambda: False,\n}\n'
HERE = Component("0.25.1")
GONE = "vLLM 0.25.1 has no variable VLLM_FLASH_ATTN_VERSION: misspelt, or dropped?"


@pytest.fixture(autouse=True)
def _vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "vllm", "0.25.1", {"url": "https://example.org/wheel", "archive_info": {}})
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "envs.py").write_text(READ, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)


def beside(vllm: Component | None, variables: Mapping[str, str]) -> Environment:
    found = {} if vllm is None else {"vllm": vllm}
    return Environment("3.12.3", components=found, variables=variables)


@pytest.mark.parametrize(
    ("vllm", "names", "remark"),
    [
        (HERE, ["VLLM_FLASH_ATTN_VERSION", "VLLM_BATCH_INVARIANT"], GONE),
        (HERE, ["VLLM_A", "VLLM_B"], GONE.replace("VLLM_FLASH_ATTN_VERSION", "VLLM_A, VLLM_B")),
        (HERE, ["VLLM_BATCH_INVARIANT"], None),
        (HERE, ["FLASHINFER_LOGLEVEL"], None),
        (Component("0.9.2"), ["VLLM_FLASH_ATTN_VERSION"], None),
        (Component("0.25.1", "abcdef123"), ["VLLM_FLASH_ATTN_VERSION"], None),
        (None, ["VLLM_FLASH_ATTN_VERSION"], None),
    ],
)
def test_variables_that_the_installed_vllm_does_not_know(
    vllm: Component | None, names: list[str], remark: str | None
) -> None:
    assert unread_variables(beside(vllm, dict.fromkeys(names, "1"))) == remark


@pytest.mark.parametrize(("label", "said"), [(None, GONE), ("head", f"head: {GONE}")])
def test_a_run_says_so_when_it_begins(tmp_path: Path, label: str | None, said: str) -> None:
    device = FakeDevice(environment=beside(HERE, {"VLLM_FLASH_ATTN_VERSION": "2"}))
    plan = Plan((small_case(),), (Method("cpu"),), rounds=1)
    with measuring(device, plan, tmp_path, label=label):
        assert said in device.notes
