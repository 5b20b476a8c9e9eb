"""A crossover as text, for studies and pages."""

from attnbench.analysis.crossover import Crossover


def crossover_text(found: Crossover) -> str:
    """The length from which prefill is faster, e.g. "prefill beats decode from 94 [80, 96] on"."""
    if found.kind == "alternating":
        return f"no single crossover, as wins alternate up to {found.low}"
    if found.kind == "beyond":
        until = "where decode stops running" if found.limit else "the last length measured"
        return f"decode wins up to {found.low}, {until}"
    if found.kind == "below":
        return f"prefill wins from {found.high} on, the least length at which one surely wins"
    if found.estimate is None:
        return "no winner outside noise at any length"
    return f"prefill beats decode from {found.estimate:.0f} [{found.low}, {found.high}] on"
