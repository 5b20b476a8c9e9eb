"""A backend is one file: in a family's folder, or in the user's own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from attnbench.errors import UsageError
from attnbench.families import FAMILIES
from attnbench.kernels.registry import backends, find

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


@pytest.mark.parametrize("name", ["torch-absorbed", "TORCH_ABSORBED", "Torch_Absorbed"])
def test_names_are_found_in_any_case_and_with_either_dash(name: str) -> None:
    assert find("mla", name).name == "torch-absorbed"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        find("attn", "flashy")
    names = [backend.name for backend in backends("attn")]
    assert str(caught.value) == (
        f"no attn backend is called 'flashy'; expected one of {', '.join(names)}, or all, "
        f"e.g. --backend {names[0]}"
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_names_and_aliases_are_unique(family: str) -> None:
    names = [name for backend in backends(family) for name in (backend.name, *backend.aliases)]
    assert len(names) == len(set(names))
