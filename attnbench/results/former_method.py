"""What the words of a stored command measured then, and no longer measure."""

from collections.abc import Mapping, Sequence
from typing import Any

from attnbench.records import Run
from attnbench.running.between import auto
from attnbench.specs.case import Case, Value
from attnbench.specs.layer import w_uk_product
from attnbench.timing.method import LAYER_VERSION, METHOD_VERSIONS, WITH_W_UK, layer_version


def changes_since(run: Run, plan: Mapping[str, Any]) -> list[str]:
    """A line per change of a method's meaning or default since a run was planned."""
    methods: Sequence[Mapping[str, Value]] = plan.get("methods", ())
    found = dict.fromkeys(
        f"method {each['version']} -> {now}"
        for each in methods
        if (now := METHOD_VERSIONS.get(str(each["timer"]))) and each["version"] != now
    )
    cases = [Case.from_canonical(case) for case in plan.get("cases", ())]
    has_w_uk = any(w_uk_product(case) for case in cases)
    found |= dict.fromkeys(
        f"layer method {before} -> {WITH_W_UK if has_w_uk else LAYER_VERSION}"
        for each in methods
        if (before := layer_version(each)) == 1 or (before == LAYER_VERSION and has_w_uk)
    )
    if _had_bare_decodes(run, methods, plan):
        hint = "" if run.command == "selfcheck" else "; --between nothing measures as then"
        found[f"between nothing -> layer, of decodes{hint}"] = None
    return list(found)


def _had_bare_decodes(
    run: Run, methods: Sequence[Mapping[str, Value]], plan: Mapping[str, Any]
) -> bool:
    """Whether decodes had nothing between their calls, where the same words now put a layer."""
    if "--between" in run.argv or any("between" in each for each in methods):
        return False
    kinds = {(each["timer"], each["cache"]) for each in methods}
    if kinds != {("cudagraph", "cold")}:
        return False
    return any(auto(Case.from_canonical(case)) for case in plan.get("cases", ()))
