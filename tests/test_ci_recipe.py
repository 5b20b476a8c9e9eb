"""The workflows of the guide on pull requests are YAML and do what it says, on small CPU cases."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import SMALL

RECIPE = Path(__file__).parent.parent / "docs" / "guide" / "gate-a-pull-request.md"
MEASURED = " ".join(["attn --backend clocked --batch-specs q8 --repeats 3 --rounds 2", *SMALL])


def workflows() -> dict[str, Mapping[Any, Any]]:
    """The workflows of the page by name."""
    found = re.findall(r"```yaml\n(.*?)```", RECIPE.read_text(), re.DOTALL)
    return {each["name"]: each for each in map(yaml.safe_load, found)}


def script(workflow: str, step: str) -> str:
    """What a step runs."""
    (found,) = (
        s for s in workflows()[workflow]["jobs"]["measure"]["steps"] if s.get("name") == step
    )
    return str(found["run"])


def run(
    folder: Path, environment: Mapping[str, str], text: str, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run a step as GitHub does, with the small cases in place of the recipe's."""
    shim = folder / "bin" / "attnbench"
    shim.parent.mkdir(exist_ok=True)
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m attnbench "$@"\n')
    shim.chmod(0o755)
    path = f"{shim.parent}:{environment['PATH']}"
    own = {"PATH": path, "MEASURED": MEASURED, "ATTNBENCH_DB": "a.db"}
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", text],
        cwd=folder,
        env={**environment, **own, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["attnbench", "attnbench-ab"])
def test_a_workflow_gates_pull_requests_on_a_gpu_runner(name: str) -> None:
    found = workflows()[name]
    assert "pull_request" in found[True]  # YAML's name for `on`
    assert found["jobs"]["measure"]["runs-on"] == ["self-hosted", "gpu"]
    steps = found["jobs"]["measure"]["steps"]
    assert all(("run" in step) != ("uses" in step) for step in steps)


def test_a_slower_pull_request_fails_and_its_comment_says_so(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    for label, seconds in (("main", "1"), ("pr-7", "10")):
        text = script("attnbench", "Measure")
        done = run(tmp_path, environment, text, LABEL=label, CLOCKED_S=seconds)
        assert done.returncode == 0, done.stderr
    done = run(tmp_path, environment, script("attnbench", "Compare"), LABEL="pr-7")
    assert done.returncode == 1, done.stderr
    comment = (tmp_path / "comment.md").read_text()
    assert " slower (main to pr-7)" in comment.splitlines()[0]
    assert "CLOCKED" not in comment  # no variable that attnbench knows
    done = run(tmp_path, environment, script("attnbench", "Compare"), LABEL="pr-8")
    assert done.returncode == 2


def test_both_sides_in_one_job(tmp_path: Path, environment: dict[str, str]) -> None:
    text = script("attnbench-ab", "Measure and compare")
    done = run(tmp_path, environment, text, BASE=sys.executable, HEAD=sys.executable)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "comment.md").read_text().startswith("### attnbench: 1 unclear ")
