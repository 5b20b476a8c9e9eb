"""A machine whose own rates changed so much that a time says nothing about the code."""

from collections.abc import Iterable
from dataclasses import replace

from attnbench.analysis.verdict import Comparison
from attnbench.records import Run
from attnbench.results.cohort import SentinelFacts
from attnbench.results.judging import JudgedPairs
from attnbench.results.sentinels import RATES
from attnbench.units import three_digits

# The greatest over the least reading of a rate. On GPUs they differ by some percent; what another
# program takes of a CPU shows in the rounds. On two cores at a load of 5 to 8 rates differed nine
# times, and equal code measured 165 times apart.
MOST = 4.0


def doubt(sentinels: SentinelFacts, runs: Iterable[Run]) -> str:
    """Why no difference between the runs counts; empty where their machine's rates agree."""
    moments = [facts for run in runs for facts in sentinels.get(run.number, {}).values()]
    for name, rate in RATES.items():
        readings = [value for facts in moments if (value := facts.get(name))]
        if readings and (times := max(readings) / min(readings)) > MOST:
            return (
                f"the machine's own {rate} differs by {three_digits(times)} times within these "
                "runs; measure both sides again while nothing else runs there"
            )
    return ""


def doubted(judged: JudgedPairs, why: str) -> JudgedPairs:
    """The pairs, of which none is decided whose sides did not take turns."""
    apart = {cell.key for cell in judged.cells if not cell.paired}

    def undecided(found: Comparison) -> Comparison:
        if found.key not in apart or found.verdict not in ("faster", "slower"):
            return found
        return replace(found, verdict="unclear", reason=f"{found.reason}, but {why}", doubt=why)

    comparisons = list(map(undecided, judged.compared.comparisons))
    kernels = {key: undecided(found) for key, found in judged.kernels.items()}
    return replace(
        judged, compared=replace(judged.compared, comparisons=comparisons), kernels=kernels
    )
