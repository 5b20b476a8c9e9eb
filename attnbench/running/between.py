"""A decoder layer between the calls of a graph: the default for decodes, as a server runs them.

Prefills are long beside what their code costs, and their products, which take milliseconds at the
power limit, would lower the clock.
"""

from collections.abc import Mapping

from attnbench.specs.case import Case, Value
from attnbench.specs.layer import w_uk_product
from attnbench.timing.method import LAYER_VERSION, WITH_W_UK, Method, without_layer

_WITH_DECODES = frozenset({"attn", "mla"})


def auto(case: Case) -> bool:
    """Whether a layer stands between the calls of a case unless something else is asked for."""
    return case.family in _WITH_DECODES and all(request.is_decode for request in case.batch)


def for_case(method: Method, case: Case) -> Method:
    """The method by which a case is timed and stored."""
    return Method.from_facts(facts_for(method.as_facts(), case))


def facts_for(facts: Mapping[str, Value], case: Case) -> dict[str, Value]:
    """The facts of `for_case`, from those of a method of any version."""
    asked = facts.get("between", "nothing")
    if asked == "nothing" or (asked == "auto" and not auto(case)):
        return without_layer(facts)
    found = {**facts, "between": "layer"}
    if facts.get("layer_version") == WITH_W_UK and not w_uk_product(case):
        found["layer_version"] = LAYER_VERSION
    return found
