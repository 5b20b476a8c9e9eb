"""Keeps what Python compiles, where it would compile the libraries again in every process.

Containers often forbid it to keep bytecode (PYTHONDONTWRITEBYTECODE), or hold packages that their
installer did not compile in folders that are read-only. vLLM, FlashInfer and what they import are
6100 modules: with bytecode a worker imports them in 3.9 CPU seconds, not 10.0, and a report takes
0.4, not 1.0.
"""

import os
import stat
import sys
from importlib.util import cache_from_source, find_spec
from pathlib import Path

_LIBRARIES = ("sqlalchemy", "torch", "transformers", "vllm", "flashinfer")


def keep_bytecode() -> None:
    """Let this process keep it in the temporary folder, and read it there, if nothing else does.

    Not in a cache that outlives a container: Python knows stale bytecode by the time and size of
    its source, which two images may have alike. Where PYTHONPYCACHEPREFIX names a folder Python
    reads bytecode from there alone, so it is kept there.
    """
    if sys.pycache_prefix:
        sys.dont_write_bytecode = False
    elif any(map(_is_never_kept, _LIBRARIES)) and (folder := _folder()):
        sys.pycache_prefix, sys.dont_write_bytecode = folder, False


def _is_never_kept(library: str) -> bool:
    """Whether the library was not compiled when it was installed, nor is when it is imported."""
    try:
        spec = find_spec(library)
    except (ImportError, ValueError):  # an environment's own finder refuses it
        return False
    if spec is None or not spec.has_location or spec.origin is None:
        return False
    kept = not sys.dont_write_bytecode and os.access(Path(spec.origin).parent, os.W_OK)
    return not kept and not Path(cache_from_source(spec.origin)).exists()


def _folder() -> str | None:
    """The folder, made if need be; None where others can write to it, who could run code here."""
    import tempfile  # a twentieth of a help's time

    try:
        folder = Path(tempfile.gettempdir(), f"attnbench-bytecode-{os.getuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()  # a link is open to all
    except OSError:
        return None
    is_private = not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return str(folder) if is_private and found.st_uid == os.getuid() else None
