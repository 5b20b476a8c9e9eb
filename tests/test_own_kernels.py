"""A backend is one file: in a family's folder, or in the user's own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from attnbench.errors import UsageError
from attnbench.families import FAMILIES
from attnbench.kernels import own
from attnbench.kernels.registry import backends, find, own_problems
from tests.conftest import SMALL

OWN = '''
"""A kernel of one's own."""
from attnbench.kernels.attn.naive import Naive

class Mine(Naive):
    name = "mine"
    aliases = ("my-kernel",)
'''


def test_a_file_in_the_users_folder_is_a_backend(tmp_path: Path) -> None:
    (tmp_path / "attn").mkdir()
    (tmp_path / "attn" / "mine.py").write_text(OWN)
    program = "from attnbench.kernels.registry import *; print([b.name for b in backends('attn')])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "ATTNBENCH_KERNELS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    built_in = sorted(["mine", *(backend.name for backend in backends("attn"))])
    assert done.stdout.strip() == str(built_in)


EXPECTED = "expected FOLDER/attn/mine.py, or another of attn, mla, cache_write, prefill_trtllm"
NAMELESS = (
    OWN.replace('    name = "mine"\n', "")
    .replace("(Naive)", "(Backend)")
    .replace("attn.naive import Naive", "base import Backend")
    .replace('    aliases = ("my-kernel",)', "    def prepare(self, case, setting): ...")
)
NO_PREPARE = NAMELESS.replace("prepare", "prepair")
SILENT = {
    "no folder": ({}, "nothing", "/nothing is not a folder; " + EXPECTED),
    "no family": ({"mine.py": OWN}, "", " has no folder of a family; " + EXPECTED),
    "beside the family": (
        {"attn/mine.py": OWN, "other.py": OWN},
        "",
        "/other.py is not in the folder of a family; " + EXPECTED,
    ),
    "family by its other name": (
        {"attn/mine.py": OWN, "cache-write/x.py": OWN},
        "",
        "/cache-write is not in the folder of a family; " + EXPECTED,
    ),
    "taken": (
        {"attn/mine.py": OWN.replace('"mine"', '"sdpa"')},
        "",
        "/attn/mine.py: the name sdpa is taken by another attn backend",
    ),
    "no method": (
        {"attn/mine.py": NO_PREPARE},
        "",
        "/attn/mine.py: class Mine has no method prepare",
    ),
    "no name": (
        {"attn/mine.py": NAMELESS},
        "",
        '/attn/mine.py: class Mine has no name, e.g. name = "mine"',
    ),
    "no class": (
        {"attn/mine.py": "x = 1"},
        "",
        "/attn/mine.py: has no class of a backend; expected a subclass of Backend with a prepare",
    ),
    "syntax": (
        {"attn/mine.py": "def f(:"},
        "",
        "/attn/mine.py: line 1: SyntaxError: invalid syntax",
    ),
    "raises": ({"attn/mine.py": "1 / 0"}, "", "/attn/mine.py: ZeroDivisionError: division by zero"),
    "exits": ({"attn/mine.py": "raise SystemExit(3)"}, "", "/attn/mine.py: SystemExit: 3"),
}


@pytest.mark.parametrize("case", SILENT)
def test_a_kernel_that_is_not_measured_is_named_with_the_reason(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, folder, problem = SILENT[case]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("ATTNBENCH_KERNELS", str(tmp_path / folder))
    backends.cache_clear()
    assert own_problems("attn") == (f"ATTNBENCH_KERNELS: {tmp_path}{problem}",)
    assert find("attn", "sdpa").name == "sdpa"
    with pytest.raises(UsageError, match="no attn backend is called 'absent'") as caught:
        find("attn", "absent")
    assert problem in str(caught.value)
    backends.cache_clear()


def test_a_pipe_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "attn").mkdir()
    os.mkfifo(tmp_path / "attn" / "mine.py")
    monkeypatch.setenv("ATTNBENCH_KERNELS", str(tmp_path))
    backends.cache_clear()
    assert "/attn/mine.py: OSError: not a regular file" in own_problems("attn")[0]
    backends.cache_clear()


@pytest.mark.parametrize("text", ["while True: pass", "import time; time.sleep(3600)"])
def test_an_import_that_does_not_end_costs_its_file_alone(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "attn").mkdir()
    (tmp_path / "attn" / "endless.py").write_text(f"try:\n    {text}\nexcept Exception:\n    pass")
    (tmp_path / "attn" / "mine.py").write_text(OWN)
    monkeypatch.setenv("ATTNBENCH_KERNELS", str(tmp_path))
    monkeypatch.setattr(own, "_IMPORT_LIMIT", 0.2)
    backends.cache_clear()
    signal.setitimer(signal.ITIMER_REAL, 100)  # such as that of pytest-timeout
    assert own_problems("attn") == (
        f"ATTNBENCH_KERNELS: {tmp_path}/attn/endless.py: its import did not end within 0.2 s; "
        "compile in prepare instead",
    )
    assert 0 < signal.setitimer(signal.ITIMER_REAL, 0)[0] <= 100
    assert find("attn", "mine").name == "mine"
    backends.cache_clear()


def test_the_command_and_doctor_name_it_and_the_others_are_measured(
    tmp_path: Path,
) -> None:
    (tmp_path / "attn").mkdir()
    (tmp_path / "attn" / "mine.py").write_text("def f(:")
    problem = f"ATTNBENCH_KERNELS: {tmp_path}/attn/mine.py: line 1: SyntaxError: invalid syntax"
    own = {**os.environ, "ATTNBENCH_KERNELS": str(tmp_path), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "attnbench"]
    run = [*command, "attn", *SMALL, "--backend", "sdpa", "--batch-specs", "q16", "--dry-run"]
    done = subprocess.run(run, env=own, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"note: {problem}\n" in done.stderr
    assert "1 of 1 cases can run" in done.stdout
    doctor = [*command, "doctor", "--device", "cpu"]
    done = subprocess.run(doctor, env=own, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert problem in " ".join(done.stdout.split())


@pytest.mark.parametrize("name", ["torch-absorbed", "TORCH_ABSORBED", "Torch_Absorbed"])
def test_names_are_found_in_any_case_and_with_either_dash(name: str) -> None:
    assert find("mla", name).name == "torch-absorbed"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        find("attn", "flashy")
    names = [backend.name for backend in backends("attn")]
    assert str(caught.value) == (
        "no attn backend is called 'flashy' (did you mean flash?); expected one of "
        f"{', '.join(names)}, or all, e.g. --backend sdpa"
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_names_and_aliases_are_unique(family: str) -> None:
    names = [name for backend in backends(family) for name in (backend.name, *backend.aliases)]
    assert len(names) == len(set(names))
