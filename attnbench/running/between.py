"""A decoder layer between the calls of a graph: the default for decodes, as a server runs them.

Prefills are long beside what their code costs, and their products, which take milliseconds at the
power limit, would lower the clock.
"""

from collections.abc import Mapping
from dataclasses import replace

from attnbench.specs.case import Case, Value, content_hash
from attnbench.timing.method import Method, without_layer

_WITH_DECODES = frozenset({"attn", "mla"})


def auto(case: Case) -> bool:
    """Whether a layer stands between the calls of a case unless something else is asked for."""
    return case.family in _WITH_DECODES and all(request.is_decode for request in case.batch)


def for_case(method: Method, case: Case) -> Method:
    """The method by which a case is timed and stored."""
    if method.between != "auto":
        return method
    return replace(method, between="layer" if auto(case) else "nothing")


def key_for(facts: Mapping[str, Value], case: Case) -> str:
    """The key of `for_case`, from the facts of a method of any version."""
    if facts.get("between") != "auto":
        return content_hash(dict(facts))
    if auto(case):
        return content_hash({**facts, "between": "layer"})
    return content_hash(without_layer(facts))
