"""The package as others see it: its types, its names, what it needs."""

import os
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

import attnbench
from tests.conftest import SMALL, Attnbench

ROOT = Path(__file__).parents[1]
MEASURE = ["attn", *SMALL, "--backend", "naive", "sdpa", "--batch-specs", "q8", "--repeats", "20"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where mypy keeps what it has read of attnbench."""
    return tmp_path_factory.mktemp("cache")


def type_check(code: str, folder: Path, cache: Path) -> str:
    """The errors of mypy --strict in a program that finds attnbench where packages are installed.

    Its torch is not followed: reading that takes mypy minutes.
    """
    (folder / "consumer.py").write_text(code)
    (folder / "mypy.ini").write_text("[mypy]\nstrict=true\n[mypy-torch.*]\nfollow_imports=skip\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "consumer.py"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "MYPY_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def test_the_public_names_have_types(tmp_path: Path, cache: Path) -> None:
    errors = type_check(
        "import attnbench\n"
        "from attnbench import BenchmarkConfig, parse_batch_spec\n"
        "from attnbench import no_such_name\n"
        "attnbench.no_such_name\n"
        "tokens: int = parse_batch_spec('q8').num_tokens\n"
        "words: str = parse_batch_spec('q8').num_tokens\n"
        "BenchmarkConfig('flashmla', 'q8', layers=3)\n",
        tmp_path,
        cache,
    )
    assert [line.partition(": error: ")[::2] for line in errors.splitlines()[:-1]] == [
        ("consumer.py:3", 'Module "attnbench" has no attribute "no_such_name"  [attr-defined]'),
        ("consumer.py:4", 'Module has no attribute "no_such_name"  [attr-defined]'),
        (
            "consumer.py:6",
            'Incompatible types in assignment (expression has type "int", '
            'variable has type "str")  [assignment]',
        ),
        (
            "consumer.py:7",
            'Unexpected keyword argument "layers" for "BenchmarkConfig"  [call-arg]',
        ),
    ]


def test_a_star_import_has_all_public_names(tmp_path: Path, cache: Path) -> None:
    names: dict[str, object] = {}
    exec("from attnbench import *", names)
    public = sorted(names.keys() - {"__builtins__"})
    assert {"Batch", "cost", "parse_batch_spec", "run_mla_benchmark"} <= {*public}
    assert {*public} <= {*dir(attnbench)}
    uses = "".join(f"{name}\n" for name in public)
    shown = type_check(f"from attnbench import *\n{uses}", tmp_path, cache)
    assert shown.startswith("Success")


def test_a_name_that_is_not_public_is_an_error() -> None:
    with pytest.raises(AttributeError, match="'attnbench' has no attribute 'no_such_name'"):
        attnbench.no_such_name  # type: ignore[attr-defined]  # noqa: B018


def test_its_types_are_installed_with_it() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["options.package_data"]["attnbench"] == "py.typed"


@pytest.fixture
def without_torch(tmp_path: Path) -> dict[str, str]:
    """Variables for a Python that finds every package but torch."""
    (tmp_path / "hiding").mkdir()
    (tmp_path / "hiding" / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch':\n"
        "            raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )
    return {"PYTHONPATH": f"{tmp_path / 'hiding'}:{ROOT}"}


def test_without_torch_a_measuring_command_says_what_to_install(
    attnbench: Attnbench, without_torch: dict[str, str]
) -> None:
    failed = attnbench(*MEASURE, **without_torch)
    assert failed.returncode == 1
    assert "Error: the worker ended with status 1: attnbench measures " in failed.stderr
    assert failed.stderr.endswith(
        "does not have; install it with pip install 'attnbench[cpu]', or 'attnbench[gpu]' for "
        "vLLM and FlashInfer too\n"
    )


def test_without_torch_stored_results_are_reported_and_compared(
    attnbench: Attnbench, without_torch: dict[str, str], tmp_path: Path
) -> None:
    assert attnbench(*MEASURE).returncode == 0
    commands = [
        ["report"],
        ["diff", "--base", "1", "--head", "1", "--across", "backend"],
        ["repro", "1"],
        ["doctor"],
        ["study", "list"],
        [*MEASURE, "--dry-run"],
    ]
    program = (
        "from click.testing import CliRunner\n"
        "from attnbench.cli import cli\n"
        f"for words in {commands}:\n"
        "    print(CliRunner().invoke(cli, words).exit_code, words[0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | without_torch,
        capture_output=True,
        text=True,
        check=True,
    )
    statuses = dict(line.split()[::-1] for line in done.stdout.splitlines())
    assert statuses.pop("diff") in ("0", "1")  # 1: one backend is slower
    assert statuses == dict.fromkeys(("report", "repro", "doctor", "study", "attn"), "0")
