"""A backend that harms its process costs its own outcomes: all others are measured."""

import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.conftest import SMALL, own_environment, run_attnbench

KERNELS = Path(__file__).parent / "kernels"

BAD = {  # what becomes of each, and what its reason holds
    "closes-descriptors": ("crashed", "closed its channel; it was ended"),
    "half-a-message": ("timeout", "phase 'prepare' did not end within 1 s"),
    "garbage": ("crashed", "the worker sent something that is not an answer"),
    "stops": ("timeout", "phase 'prepare' did not end within 1 s"),
    "forks-and-dies": ("crashed", "was ended by SIGSEGV"),
    "leaves-processes": ("crashed", "was ended by SIGSEGV"),
    "long-last-line": ("crashed", "ended with status 3: xxx"),
    "long-error": ("error", "ValueError: yyy"),
    "unspeakable-error": ("error", "Unspeakable"),
    "prints-much": ("ok", ""),
    "exits": ("crashed", "ended with status 0"),
    "ends-python": ("crashed", "bye"),
    "interrupts": ("crashed", "SIGINT"),
    "ignores-sigterm": ("timeout", "phase 'prepare' did not end within 1 s"),
    "allocates-too-much": ("out-of-memory", "allocate"),
    "overwrites-queries": ("incorrect", "its call overwrites its inputs"),
    "overwrites-pool": ("incorrect", "its call overwrites its inputs"),
    "refusal-raises": ("error", "KeyError: 'a table of mine'"),
    "refusal-dies": ("crashed", "ended with status 4"),
    "no-module": ("error", "ModuleNotFoundError: No module named 'not_installed'"),
    "count-raises": ("error", "ZeroDivisionError"),
    "resolves": ("error", "resolved['said'] is of type NoneType"),
    "resolves-tuple": ("error", "resolved['said'] is of type tuple"),
    "resolves-function": ("error", "resolved['said'] is of type builtin_function_or_method"),
    "resolves-nan": ("error", "resolved['said'] is nan"),
    "resolves-surrogate": ("error", "which databases cannot store"),
    "touches-too-much": ("error", "touched_bytes is"),
    "a-spoils": ("ok", ""),
}
# Their limit is a second, since they reach any; that of the others leaves a busy machine time.
ENDLESS = ("half-a-message", "stops", "ignores-sigterm")
GOOD = ("naive", "sdpa", "b-unspoilt")
QUICK = [*SMALL, "--batch-specs", "q8", "--rounds", "1", "--repeats", "3"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of all of them, in two runs."""
    folder = tmp_path_factory.mktemp("bad")
    environment = own_environment(folder) | {"ATTNBENCH_KERNELS": str(KERNELS)}
    others = [name for name in BAD if name not in ENDLESS]
    for backends, limit in ((ENDLESS, "1"), ((*others, *GOOD), "60")):
        words = ["attn", *QUICK, "--prepare-timeout", limit, "--backend", *backends]
        found = run_attnbench(folder, environment, *words)
        assert found.returncode == 1
        assert "Traceback" not in found.stderr
    return folder


def outcomes(folder: Path) -> dict[str, tuple[str, str]]:
    query = (
        'select "case".backend, measurement.status, reason from measurement '
        'join "case" on case_id = "case".id'
    )
    with sqlite3.connect(folder / "attnbench.db") as connection:
        return {backend: (status, reason) for backend, status, reason in connection.execute(query)}


@pytest.mark.parametrize("backend", BAD)
def test_a_bad_backend_has_an_outcome_of_its_own(backend: str, measured: Path) -> None:
    expected, text = BAD[backend]
    status, reason = outcomes(measured)[backend]
    assert (status, text in reason) == (expected, True), reason
    assert len(reason) < 1200


@pytest.mark.parametrize("backend", GOOD)
def test_the_others_are_measured(backend: str, measured: Path) -> None:
    assert outcomes(measured)[backend] == ("ok", "")


@pytest.mark.usefixtures("measured")
def test_no_process_of_a_backend_is_left() -> None:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert "sleep 3599" not in listed.stdout


def test_the_results_are_reported(measured: Path) -> None:
    found = run_attnbench(measured, own_environment(measured), "report")
    assert found.returncode == 0
    assert len(found.stdout) < 20_000
