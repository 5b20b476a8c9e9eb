"""A decoder layer between the calls of a graph: the default for decodes, as a server runs them.

Prefills are long beside what their code costs, and their products, which take milliseconds at the
power limit, would lower the clock.
"""

from collections.abc import Mapping
from dataclasses import replace

from attnbench.specs.case import Case, Value, content_hash
from attnbench.specs.layer import w_uk_product
from attnbench.timing.method import LAYER_VERSION, WITH_W_UK, Method, without_layer

_WITH_DECODES = frozenset({"attn", "mla"})


def auto(case: Case) -> bool:
    """Whether a layer stands between the calls of a case unless something else is asked for."""
    return case.family in _WITH_DECODES and all(request.is_decode for request in case.batch)


def for_case(method: Method, case: Case) -> Method:
    """The method by which a case is timed and stored."""
    between = method.between
    if between == "auto":
        between = "layer" if auto(case) else "nothing"
    has_w_uk = between == "layer" and w_uk_product(case)
    version = method.layer_version if has_w_uk else LAYER_VERSION
    return replace(method, between=between, layer_version=version)


def key_for(facts: Mapping[str, Value], case: Case) -> str:
    """The key of `for_case`, from the facts of a method of any version."""
    asked = facts.get("between", "nothing")
    if asked == "nothing" or (asked == "auto" and not auto(case)):
        return content_hash(without_layer(facts))
    found = {**facts, "between": "layer"}
    if facts.get("layer_version") == WITH_W_UK and not w_uk_product(case):
        found["layer_version"] = LAYER_VERSION
    return content_hash(found)
