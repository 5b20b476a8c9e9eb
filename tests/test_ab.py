"""`attnbench ab` as real processes: equal builds, a planted slowdown, environments that cannot."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import time
from contextlib import closing
from pathlib import Path

import pytest

from attnbench.db.store import Store
from attnbench.records import RunStatus
from attnbench.results.noise import turns_of
from tests.conftest import OWN_KERNELS, SMALL, Attnbench, Refused, started


def db_count(folder: Path) -> int:
    """Outcomes that are stored."""
    try:
        with closing(sqlite3.connect(folder / "attnbench.db")) as connection:
            (count,) = connection.execute("select count(*) from measurement").fetchone()
    except sqlite3.OperationalError:
        return 0
    return int(count)


def samples_of_rounds(folder: Path, before: int) -> list[tuple[str, float]]:
    """The outcomes of the first rounds, by UUID with their time."""
    query = f"select uuid, median from measurement where round < {before} order by uuid"
    with closing(sqlite3.connect(folder / "attnbench.db")) as connection:
        return connection.execute(query).fetchall()


PACED = ["attn", "--backend", "paced", "--batch-specs", "q8", *SMALL, "--repeats", "5"]
CLOCKED = ["clocked" if word == "paced" else word for word in PACED]


def venv(path: Path, sees: str | None) -> Path:
    """The Python of a virtual environment that has what stands in the folder `sees`."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(path)], check=True)
    python = path / "bin" / "python"
    if sees:
        site = sysconfig.get_path("purelib", "venv", {"base": str(path), "platbase": str(path)})
        Path(site, "sees.pth").write_text(sees)
    return python


@pytest.fixture
def site() -> str:
    """Where this environment's libraries are: attnbench may stand beside them."""
    import torch

    return str(Path(torch.__file__).parent.parent)


def test_two_environments_are_measured_in_turns_and_a_slowdown_is_found(
    attnbench: Attnbench, tmp_path: Path, site: str
) -> None:
    pythons = [str(venv(tmp_path / name, site)) for name in ("old", "new")]
    slow = tmp_path / "slow" / "attn"
    slow.mkdir(parents=True)
    source = (OWN_KERNELS / "attn" / "faulty.py").read_text()
    (slow / "faulty.py").write_text(source.replace('"CLOCKED_S", "1"', '"CLOCKED_S", "2"'))
    done = attnbench(
        *["ab", "--base-python", pythons[0], "--head-python", pythons[1]],
        *["--head-env", f"ATTNBENCH_KERNELS={slow.parent}", "--head-label", "slow"],
        *["--", *CLOCKED],
    )
    assert done.returncode == 1, done.stderr
    assert 'base: run 1 "base"' in done.stdout
    assert 'head: run 2 "slow"' in done.stdout
    assert "\nslower " in done.stdout
    assert "rounds were interleaved and are compared pair by pair" in done.stdout
    # Both run this attnbench, which neither environment has installed.
    assert f"differs: ATTNBENCH_KERNELS {OWN_KERNELS} -> " in done.stdout.replace("\n  ", " ")
    assert "differs: attnbench" not in done.stdout
    turns = [line.split()[1:4] for line in done.stderr.splitlines() if line.startswith("run ")]
    assert [f"{run}:{round_}" for run, _, round_ in turns] == [
        "1:1",
        "2:1",
        "2:2",
        "1:2",
        "1:3",
        "2:3",
    ]
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        runs = store.runs()
        assert [(run.command, run.status) for run in runs] == [("ab", RunStatus.FINISHED)] * 2
        assert len(set(turns_of(store, (1, 2)).values())) == 1


def test_equal_builds_are_not_slower_and_no_secret_is_kept(
    attnbench: Attnbench, tmp_path: Path
) -> None:
    sides = [
        "ab",
        "--head-env",
        "PACED_MS=2",
        "A_TOKEN=hush",
        "--margin",
        "200%",
        "--format",
        "json",
    ]
    done = attnbench(*sides, "--", *PACED, "--rounds", "1")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["differences"] == ["PACED_MS unset -> 2"]
    assert {cell["verdict"] for cell in found["cells"]} <= {"same", "unclear"}
    assert not any(b"hush" in path.read_bytes() for path in tmp_path.glob("attnbench.db*"))
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        assert "A_TOKEN=..." in store.run(1).argv


def test_a_backend_that_only_one_side_can_run_newly_fails(
    attnbench: Attnbench, tmp_path: Path
) -> None:
    empty = tmp_path / "none"
    (empty / "attn").mkdir(parents=True)
    source = (OWN_KERNELS / "attn" / "faulty.py").read_text()
    (empty / "attn" / "faulty.py").write_text(
        source.replace(
            'name: ClassVar = "paced"\n', 'name: ClassVar = "paced"\n    devices = ("cuda",)\n'
        )
    )
    once = [*PACED, "--rounds", "1"]
    done = attnbench("ab", "--head-env", f"ATTNBENCH_KERNELS={empty}", "--", *once)
    assert done.returncode == 1
    assert "now fails: refused: paced q8: " in done.stdout
    assert "refused" not in done.stderr


def test_an_environment_without_torch_is_told_before_anything_is_measured(
    attnbench: Attnbench, tmp_path: Path
) -> None:
    python = venv(tmp_path / "bare", None)
    done = attnbench("ab", "--head-python", str(python), "--", *PACED)
    assert done.returncode == 1
    assert f"Error: --head-python {python} cannot run a worker: " in done.stderr
    assert "No module named" in done.stderr
    assert done.stderr.endswith(
        "it needs Python 3.11 or newer with torch, numpy and nvidia-ml-py\n"
    )
    assert not (tmp_path / "attnbench.db").exists()


def test_two_devices_are_refused(attnbench: Attnbench, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    patch = "import socket\nsocket.gethostname = lambda: 'elsewhere'\n"
    (elsewhere / "sitecustomize.py").write_text(patch)
    paths = f"{elsewhere}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = attnbench("ab", "--head-env", f"PYTHONPATH={paths}", "--", *PACED)
    assert done.returncode == 2
    assert "both must measure one device" in done.stderr


@pytest.mark.usefixtures("own_lock")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--base-python", "/no/such/python", "--", "attn"],
            "'/no/such/python' is not an executable file",
        ),
        (["--head-env", "X", "--", "attn"], "'X' is not NAME=VALUE"),
        (["--", "report"], "ab measures with attn, mla, cache-write"),
        (["--"], "Missing argument"),
        (["--", "attn", "--resume"], "has no unfinished ab run of this machine"),
        (["--", "attn", "--label", "x"], "--label applies to one run, and ab makes two"),
        (["--", "attn", "--nonsense"], "No such option"),
        (["--rounds", "5", "--", "attn"], "follow it, e.g. attnbench ab -- attn --rounds 5"),
        (["--db", "h200.db", "--", "attn"], "Options of the measuring command follow it"),
    ],
)
def test_what_is_asked_wrongly_is_a_usage_error(
    arguments: list[str], message: str, refused: Refused
) -> None:
    assert message in refused("ab", *arguments)


def test_an_interrupted_comparison_goes_on_with_the_round_that_was_interrupted(
    tmp_path: Path, environment: dict[str, str], attnbench: Attnbench
) -> None:
    words = ["ab", "--head-env", "PACED_MS=3", "--margin", "1000%", "--", *PACED, "--rounds", "2"]
    with started(tmp_path, environment, *words) as process:
        while db_count(tmp_path) < 3:  # of four: the second round has begun
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.endswith("continue with the same command and --resume as its last word\n")
    kept = samples_of_rounds(tmp_path, 1)
    done = attnbench(*words, "--resume")
    assert done.returncode == 0, done.stderr
    assert 'base: run 1 "base"' in done.stdout
    assert "rounds were interleaved and are compared pair by pair" in done.stdout
    assert db_count(tmp_path) == 4
    assert samples_of_rounds(tmp_path, 1) == kept


def test_a_dry_run_measures_nothing(attnbench: Attnbench, tmp_path: Path) -> None:
    done = attnbench("ab", "--", *PACED, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "paced" in done.stdout
    assert "3 rounds of each on both sides, ~" in " ".join(done.stdout.split())
    assert " in total and 6 worker starts. Nothing" in " ".join(done.stdout.split())
    assert not (tmp_path / "attnbench.db").exists()
