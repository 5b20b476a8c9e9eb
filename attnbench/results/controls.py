"""Cases whose code is the same on both sides of a diff: what moves them is not the code."""

from collections.abc import Callable, Mapping

from attnbench.analysis.pairing import Pair
from attnbench.errors import UsageError
from attnbench.kernels.own import is_own
from attnbench.kernels.registry import find
from attnbench.provenance.environment import Environment
from attnbench.records import Run
from attnbench.specs.case import Case

# The component that a backend's module belongs to.
_COMPONENTS: Mapping[str, str] = {"flashinfer": "flashinfer-python"}


def controls(base: Run, head: Run) -> Callable[[Pair], bool]:
    """Whether a pair's code is the same in both runs; of equal runs all pairs are controls.

    A backend's is, if its package has one version and commit on both sides, and neither is the code
    under test or that is equal too. PyTorch's own kernels are not what a git tree holds.
    """
    before, after = (Environment.from_facts(run.environment) for run in (base, head))
    same_source = base.source == head.source
    same_rest = all(
        getattr(before, name) == getattr(after, name)
        for name in ("python", "cuda", "cudnn", "variables")
    ) and before.components.get("attnbench") == after.components.get("attnbench")

    def is_control(pair: Pair) -> bool:
        module = _module(pair.base.case)
        if not same_rest or module is None or not (same_source or module == "torch"):
            return False
        names = {_COMPONENTS.get(module, module), "torch", "triton"}
        return all(before.components.get(name) == after.components.get(name) for name in names)

    return is_control


def _module(case: Case) -> str | None:
    """The package that the backend drives; None for a user's own, or one no longer known."""
    try:
        backend = find(case.family, case.backend)
    except UsageError:
        return None
    return None if is_own(backend) else backend.module
