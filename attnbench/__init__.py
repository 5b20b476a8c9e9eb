"""attnbench: benchmarks of LLM attention kernels that can be trusted.

The public names load on first use, so that importing a part of the package costs only that part.
"""

from importlib import import_module
from typing import Any

from attnbench._version import __version__


def __getattr__(name: str) -> Any:
    api = import_module("attnbench.api")
    if name in api.__all__:
        return getattr(api, name)
    raise AttributeError(f"module 'attnbench' has no attribute '{name}'")


__all__ = ["__version__"]
