"""The software of a measurement: read, kept without secrets, and compared in sentences."""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import attnbench
from attnbench.provenance.environment import (
    Component,
    Environment,
    kept_variables,
    read_environment,
)
from attnbench.provenance.packages import editable_directory, recorded_commit
from tests.test_source import git

PACKAGE = Path(attnbench.__file__).parent

TORCH_COMMIT = "70d99e998b4955e0049d13a98d77ae1b14db1f45"
RELEASED = Environment(
    python="3.12.3",
    cuda="13.0",
    cudnn=91002,
    components={
        "torch": Component("2.11.0+cu130", TORCH_COMMIT),
        "vllm": Component("0.25.1"),
    },
    variables={"VLLM_USE_V1": "1"},
)

texts = st.text(max_size=8)
components = st.builds(Component, texts, st.none() | texts, st.none() | texts)
environments = st.builds(
    Environment,
    python=texts,
    cuda=st.none() | texts,
    cudnn=st.none() | st.integers(),
    components=st.dictionaries(texts, components, max_size=3),
    variables=st.dictionaries(texts, texts, max_size=3),
)


@given(environments)
def test_facts_survive_json(environment: Environment) -> None:
    facts = environment.as_facts()
    stored = json.loads(json.dumps(facts))
    assert stored == facts
    assert Environment.from_facts(stored) == environment
    assert Environment.from_facts(stored).key == environment.key


@given(environments, environments)
def test_environments_differ_exactly_when_a_sentence_says_so(
    one: Environment, other: Environment
) -> None:
    assert (one == other) == (one.key == other.key) == (one.differences(other) == [])


def with_components(**components: Component) -> Environment:
    return replace(RELEASED, components={**RELEASED.components, **components})


@pytest.mark.parametrize(
    ("other", "sentences"),
    [
        (RELEASED, []),
        (replace(RELEASED, python="3.13.1"), ["Python 3.12.3 -> 3.13.1"]),
        (replace(RELEASED, cuda=None, cudnn=None), ["CUDA 13.0 -> none", "cuDNN 91002 -> none"]),
        (
            with_components(torch=Component("2.13.0", "cf30153c4c131c8164ee7798e5022d810682e2cb")),
            ["torch 2.11.0+cu130 -> 2.13.0"],
        ),
        (
            with_components(torch=Component("2.11.0+cu130", TORCH_COMMIT, "0123456789ab")),
            ["torch 2.11.0+cu130 at 70d99e998 -> 70d99e998 with uncommitted changes 0123456789ab"],
        ),
        (
            with_components(vllm=Component("0.25.1", "89abcdef0")),
            ["vllm 0.25.1 at no known commit -> 89abcdef0"],
        ),
        (with_components(numpy=Component("2.4.6")), ["numpy not installed -> 2.4.6"]),
        (
            replace(RELEASED, variables={"NCCL_DEBUG": "INFO"}),
            ["NCCL_DEBUG unset -> INFO", "VLLM_USE_V1 1 -> unset"],
        ),
    ],
)
def test_differences_are_told_in_sentences(other: Environment, sentences: list[str]) -> None:
    assert RELEASED.differences(other) == sentences


def test_variables_that_may_change_a_result_are_kept() -> None:
    steering = {
        "VLLM_ATTENTION_BACKEND": "FLASHMLA",
        "FLASHINFER_DISABLE_JIT": "1",
        "TRITON_CACHE_DIR": "/tmp/triton",
        "CUDA_VISIBLE_DEVICES": "0",
        "NCCL_DEBUG": "INFO",
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        "TORCH_CUDA_ARCH_LIST": "9.0a",
        "OMP_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "2",
        "ATTNBENCH_KERNELS": "/home/me/kernels",
    }
    other = {"PATH": "/bin", "HOME": "/root", "ATTNBENCH_DB": "results.db", "MY_VLLM_FLAG": "1"}
    assert kept_variables(steering | other) == steering


@given(
    st.sampled_from(["VLLM_", "TORCH_", "ATTNBENCH_"]),
    st.sampled_from(["KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "token", "Key"]),
    st.text("ABC_", max_size=4),
)
def test_a_secret_is_never_kept(prefix: str, word: str, rest: str) -> None:
    assert kept_variables({prefix + rest + word: "s3cret", prefix + word + rest: "s3cret"}) == {}


def test_credentials_in_a_url_are_not_kept() -> None:
    kept = kept_variables({"VLLM_CACHE_URL": "https://me:s3cret@cache.example.org/v1"})
    assert kept == {"VLLM_CACHE_URL": "https://cache.example.org/v1"}


def test_the_local_environment_is_read() -> None:
    environment = read_environment()
    assert environment.python == platform.python_version()
    for name in ("torch", "numpy", "nvidia-ml-py"):
        assert environment.components[name].version == importlib.metadata.version(name)
    torch = environment.components["torch"]
    assert torch.commit is not None
    assert len(torch.commit) == 40
    assert Environment.from_facts(json.loads(json.dumps(environment.as_facts()))) == environment
    assert environment == read_environment()


def test_the_attnbench_that_runs_is_recorded_not_the_installed_one(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "attnbench", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "attnbench" / "_version.py").write_text('__version__ = "9.9"')
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "Mine")
    script = "from attnbench.provenance.environment import own_component; print(own_component())"
    printed = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    head = git(tmp_path, "rev-parse", "HEAD")
    assert printed.stdout == f"{Component('9.9', head, None)}\n"


def test_versions_and_commits_are_read_without_importing_the_packages() -> None:
    script = """
import sys
from attnbench.provenance.packages import editable_directory, recorded_commit
for name in ("torch", "vllm", "flashinfer-python", "attnbench"):
    editable_directory(name), recorded_commit(name)
print({"torch", "vllm", "flashinfer"} & set(sys.modules))
"""
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert printed.stdout == "set()\n"


def install(site: Path, name: str, version: str, origin: object = None) -> None:
    """What an installer records of a package, with where it came from (PEP 610)."""
    record = site / f"{name.replace('-', '_')}-{version}.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if origin is not None:
        (record / "direct_url.json").write_text(json.dumps(origin))


@pytest.mark.parametrize(
    ("name", "version", "file", "line", "commit"),
    [
        (
            "vllm",
            "0.25.1",
            "vllm/_version.py",
            "__commit_id__ = commit_id = 'g1da94e673'",
            "1da94e673",
        ),
        ("vllm", "0.25.1", "vllm/_version.py", "__commit_id__ = commit_id = None", None),
        ("vllm", "0.6.3.dev173+g36fc439d.cu128", "vllm/_version.py", "", "36fc439d"),
        ("vllm", "0.6.3.dev173+cu128", "vllm/_version.py", "", None),
        ("torch", "2.11.0", "torch/version.py", f"git_version = '{TORCH_COMMIT}'", TORCH_COMMIT),
        ("torch", "2.11.0+cu130", "torch/version.py", "", None),
        ("triton", "3.4.0+git11ec6354", "triton/none.py", "", "11ec6354"),
        (
            *("flashinfer-python", "0.6.1", "flashinfer/_build_meta.py"),
            *(f'__git_version__ = "{TORCH_COMMIT}"', TORCH_COMMIT),
        ),
        (
            *("flashinfer-python", "0.6.1", "flashinfer/_build_meta.py"),
            *('__git_commit__ = "unknown"', None),
        ),
    ],
)
def test_the_commit_of_a_build_is_read_from_its_files_or_version(
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    version: str,
    file: str,
    line: str,
    commit: str | None,
) -> None:
    install(tmp_path, name, version, {"url": "https://example.org/wheel", "archive_info": {}})
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(f'__version__ = "1"\n{line}\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert recorded_commit(name) == commit


def test_the_commit_of_an_install_from_git_is_read_from_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vcs = {"vcs": "git", "commit_id": TORCH_COMMIT}
    install(tmp_path, "vllm", "0.25.1", {"url": "https://example.org/vllm", "vcs_info": vcs})
    monkeypatch.syspath_prepend(tmp_path)
    assert recorded_commit("vllm") == TORCH_COMMIT


@pytest.mark.parametrize(
    ("origin", "found"),
    [
        ({"url": "file:///src/my%20vllm", "dir_info": {"editable": True}}, Path("/src/my vllm")),
        ({"url": "file:///src/vllm", "dir_info": {}}, None),
        ({"url": "https://example.org/wheel", "archive_info": {}}, None),
    ],
)
def test_only_an_editable_install_has_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: object, found: Path | None
) -> None:
    install(tmp_path, "vllm", "0.25.1", origin)
    monkeypatch.syspath_prepend(tmp_path)
    assert editable_directory("vllm") == found


def test_an_editable_install_is_found_behind_its_own_egg_info(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout, site = tmp_path / "vllm", tmp_path / "site"
    (checkout / "vllm.egg-info").mkdir(parents=True)
    (checkout / "vllm.egg-info" / "PKG-INFO").write_text("Name: vllm\nVersion: 1.0\n")
    site.mkdir()
    install(site, "vllm", "1.0", {"url": checkout.as_uri(), "dir_info": {"editable": True}})
    monkeypatch.syspath_prepend(site)
    monkeypatch.syspath_prepend(checkout)
    assert editable_directory("vllm") == checkout
