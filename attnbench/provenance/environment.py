"""The software of a measurement."""

import os
import platform
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from attnbench._version import __version__
from attnbench.provenance import JSON
from attnbench.provenance.git import GitState, GitTooSlow, git_state, without_credentials
from attnbench.provenance.packages import editable_directory, installed, recorded_commit
from attnbench.specs.case import content_hash

_COMPONENTS = (
    "torch",
    "triton",
    "vllm",
    "flashinfer-python",
    "numpy",
    "nvidia-ml-py",
)
_VARIABLES = (
    "VLLM_",
    "FLASHINFER_",
    "TRITON_",
    "CUDA_",
    "NCCL_",
    "PYTORCH_",
    "TORCH_",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ATTNBENCH_",
)
_SECRETS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")
_NO_INFLUENCE = ("ATTNBENCH_DB", "ATTNBENCH_LOCK")  # place of results, and of waiting


@dataclass(frozen=True, slots=True)
class Component:
    """One installed package."""

    version: str
    commit: str | None = None  # built from or, if editable, checked out; perhaps shortened
    dirty: str | None = None  # hash of an editable install's uncommitted changes

    @property
    def code(self) -> str:
        """The code it was built from, which the version may not identify."""
        commit = self.commit[:9] if self.commit else "no known commit"
        return f"{commit} with uncommitted changes {self.dirty}" if self.dirty else commit


@dataclass(frozen=True, slots=True)
class Environment:
    """Python, the packages with the kernels, and the variables that control them."""

    python: str
    cuda: str | None = None  # that PyTorch was built for
    cudnn: int | None = None  # as cuDNN numbers itself: 91002 is 9.10.2
    components: Mapping[str, Component] = field(default_factory=dict)  # by name, if installed
    variables: Mapping[str, str] = field(default_factory=dict)  # of the process environment

    @property
    def key(self) -> str:
        """SHA-256 of everything in it."""
        return content_hash(asdict(self))

    @property
    def _platform(self) -> dict[str, str | int | None]:
        return {"Python": self.python, "CUDA": self.cuda, "cuDNN": self.cudnn}

    def as_facts(self) -> dict[str, JSON]:
        """Every fact by name, equal to itself after a trip through JSON."""
        return asdict(self)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """The inverse of `as_facts`."""
        components = {name: Component(**c) for name, c in facts["components"].items()}
        return cls(**{**facts, "components": components})

    def differences(self, other: Self) -> list[str]:
        """The changes from this one to `other`, e.g. "torch 2.11.0+cu130 -> 2.13.0"."""
        return [
            *_changes(self._platform, other._platform, "none"),
            *_component_changes(self.components, other.components),
            *_changes(self.variables, other.variables, "unset"),
        ]


def read_environment() -> Environment:
    """The environment of this process. Imports torch, and no other of the packages."""
    import torch

    found = {name: read_component(name) for name in _COMPONENTS}
    return Environment(
        python=platform.python_version(),
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),
        components={**{n: each for n, each in found.items() if each}, "attnbench": own_component()},
        variables=kept_variables(os.environ),
    )


def kept_variables(variables: Mapping[str, str], besides: Collection[str] = ()) -> dict[str, str]:
    """The variables that may change a result, sorted by name, without secrets.

    `besides` names further ones that may.
    """
    return {
        name: without_credentials(value)
        for name, value in sorted(variables.items())
        if (name.startswith(_VARIABLES) or name in besides)
        and name not in _NO_INFLUENCE
        and not any(word in name.upper() for word in _SECRETS)
    }


def read_component(name: str) -> Component | None:
    """The installed package of that name; None if there is none."""
    if (distribution := installed(name)) is None:
        return None
    directory = editable_directory(name)
    if directory and (state := _state(directory)):
        return Component(distribution.version, state.commit, state.dirty)
    return Component(distribution.version, recorded_commit(name))


def _state(directory: Path) -> GitState | None:
    try:
        return git_state(directory)
    except GitTooSlow:
        return None


def own_component() -> Component:
    """The attnbench that runs, which PYTHONPATH may make another than the installed one."""
    folder = Path(__file__).resolve().parents[2]
    state = _state(folder)
    if state and Path(state.path) == folder:
        return Component(__version__, state.commit, state.dirty)
    return Component(__version__, recorded_commit("attnbench"))


def _component_changes(
    before: Mapping[str, Component], after: Mapping[str, Component]
) -> list[str]:
    """By version, or by code if the versions are equal: a release's commit adds nothing."""
    sentences = _changes(_versions(before), _versions(after), "not installed")
    for name in sorted(before.keys() & after.keys()):
        old, new = before[name], after[name]
        if old != new and old.version == new.version:
            sentences.append(f"{name} {old.version} at {old.code} -> {new.code}")
    return sentences


def _versions(components: Mapping[str, Component]) -> dict[str, str]:
    return {name: component.version for name, component in components.items()}


def _changes(
    before: Mapping[str, str | int | None], after: Mapping[str, str | int | None], absent: str
) -> list[str]:
    return [
        f"{name} {_text(before.get(name), absent)} -> {_text(after.get(name), absent)}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _text(value: str | int | None, absent: str) -> str | int:
    return absent if value is None else value
