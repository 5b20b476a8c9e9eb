"""The families of attention work, in the order of the help."""

from attnbench.errors import UsageError
from attnbench.families.attn import ATTN
from attnbench.families.cache_write import CACHE_WRITE
from attnbench.families.family import Family
from attnbench.families.mla import MLA
from attnbench.families.prefill_trtllm import PREFILL_TRTLLM
from attnbench.options.option import table
from attnbench.specs.case import Case
from attnbench.specs.cost import Cost

__all__ = ["cost"]  # public names, also of `import attnbench`

FAMILIES = {each.name: each for each in (ATTN, MLA, CACHE_WRITE, PREFILL_TRTLLM)}

# Our knobs by their names in vLLM's benchmark suite.
SUITE_KNOBS = {
    theirs: ours
    for family in FAMILIES.values()
    for ours, option in table(family.options).items()
    for theirs in option.suite
}


def family_of(case: Case) -> Family:
    """The record of a case's family; UsageError for a family of another version."""
    if case.family in FAMILIES:
        return FAMILIES[case.family]
    raise UsageError(f"no family is called '{case.family}'; known are {', '.join(FAMILIES)}")


def cost(case: Case, num_decode: int) -> Cost:
    """The least work of one call of `case` if its first `num_decode` requests are decoded.

    The number matters only for MLA: decode works in the latent space, prefill on up-projected
    heads.
    """
    return family_of(case).cost(case, num_decode)
