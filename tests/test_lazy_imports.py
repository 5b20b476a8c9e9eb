"""What may be imported when: help is light, and only the worker imports torch."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from click import Context

from attnbench.cli import cli
from attnbench.commands import COMMANDS
from attnbench.families import FAMILIES

HEAVY = {"torch", "vllm", "flashinfer", "sqlalchemy", "alembic", "numpy", "scipy", "pynvml"}


def imported_by(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has imported after `code`."""
    program = f"{code}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return HEAVY & set(json.loads(done.stdout.splitlines()[-1]))


CALL = """
from click.testing import CliRunner
from attnbench.cli import cli
assert CliRunner().invoke(cli, {args}).exit_code == 0
"""


@pytest.mark.parametrize("args", [["--help"], ["--version"]])
def test_the_groups_help_imports_nothing_heavy(args: list[str]) -> None:
    assert imported_by(CALL.format(args=args)) == set()


SCRIPT = """
import sys
from attnbench.__main__ import main
sys.argv[1:] = ["--help"]
try:
    main()
except SystemExit as ended:
    assert ended.code == 0
"""


def test_the_script_imports_nothing_heavy_for_help() -> None:
    assert imported_by(SCRIPT) == set()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_help_of_a_family_imports_nothing_heavy(family: str) -> None:
    assert imported_by(CALL.format(args=[family, "--help"])) == set()


HELP_OF_ALL = """
import json, sys
from click.testing import CliRunner
from attnbench.cli import cli
from attnbench.commands import COMMANDS
found = {}
for name in COMMANDS:
    assert CliRunner().invoke(cli, [name, "--help"]).exit_code == 0, name
    found[name] = sorted({"torch", "vllm", "flashinfer", "scipy"} & set(sys.modules))
print(json.dumps(found))
"""


def test_a_commands_help_imports_neither_a_kernel_library_nor_scipy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP_OF_ALL], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {name: [] for name in COMMANDS}


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("report", "attnbench.reporting.html.report"),
        ("report", "attnbench.db.views"),
        ("report", "sqlalchemy.dialects.postgresql"),
        ("measuring", "attnbench.running.execute"),
        ("study", "attnbench.running.execute"),
    ],
)
def test_a_command_does_not_import_what_few_of_its_calls_need(command: str, module: str) -> None:
    assert find_spec(module)
    code = f"import attnbench.commands.{command}, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert module not in done.stdout.split()


@pytest.mark.parametrize(
    "code",
    ["import attnbench", "from attnbench import parse_batch_spec, cost", "import attnbench.cli"],
)
def test_the_grammar_imports_nothing_heavy(code: str) -> None:
    assert imported_by(code) == set()


def test_vllms_names_import_no_kernel_library() -> None:
    assert not imported_by("from attnbench import *") & {"torch", "vllm", "flashinfer"}


def test_listing_backends_imports_no_kernel_library() -> None:
    code = "from attnbench.families import FAMILIES\n"
    code += "from attnbench.kernels.registry import backends\n[backends(f) for f in FAMILIES]"
    assert not imported_by(code) & {"torch", "vllm", "flashinfer"}


SDPA = """
import sys
from attnbench.kernels.base import Setting
from attnbench.kernels.registry import find
from tests.conftest import small_case
prepared = find("attn", "sdpa").prepare(small_case(backend="sdpa"), Setting("cpu", 1, 0))
prepared.calls[0]()
print(prepared.resolved, *sys.modules)
"""


def test_sdpa_on_a_cpu_imports_no_compiler_of_torch() -> None:
    done = subprocess.run([sys.executable, "-c", SDPA], capture_output=True, text=True, check=True)
    assert "torch" in done.stdout.split()
    assert "torch._dynamo" not in done.stdout.split()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_summary_is_the_first_line_of_the_commands_help(name: str) -> None:
    command = cli.get_command(Context(cli), name)
    assert command is not None
    assert command.help is not None
    assert command.help.splitlines()[0] == COMMANDS[name]


MEASURED = """
import sys
from attnbench.__main__ import main
from attnbench.commands import measuring
read = measuring.read_run
measuring.read_run = lambda *args: print("scipy.special" in sys.modules) or read(*args)
sys.argv[1:] = "attn --device cpu --backend sdpa --batch-specs 4q1kv64 --rounds 1".split()
main()
"""


def test_scipy_is_loaded_while_the_device_measures(tmp_path: Path) -> None:
    line = [sys.executable, "-c", MEASURED]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True")
