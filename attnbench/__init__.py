"""attnbench: trustworthy benchmarks of LLM attention kernels.

The public names are in the `__all__` of `specs`, `families`, `db.frame` and `compat`. Each loads on
first use: `import attnbench.units` costs no more than that module.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from attnbench._version import __version__ as __version__

if TYPE_CHECKING:
    from attnbench.compat import *  # noqa: F403
    from attnbench.db.frame import *  # noqa: F403
    from attnbench.families import *  # noqa: F403
    from attnbench.specs import *  # noqa: F403
else:  # hidden from type checkers, for which __getattr__ would make every name public

    def __getattr__(name: str) -> object:
        if name == "__all__":
            return [name for each in _public() for name in each.__all__]
        if not name.startswith("_"):
            for each in _public():
                if name in each.__all__:
                    return getattr(each, name)
        raise AttributeError(f"module 'attnbench' has no attribute '{name}'")

    def __dir__() -> list[str]:
        return ["__version__", *__getattr__("__all__")]

    def _public():
        """The heaviest last: names of the others are found without it."""
        for name in ("specs", "families", "db.frame", "compat"):
            yield import_module(f"attnbench.{name}")
