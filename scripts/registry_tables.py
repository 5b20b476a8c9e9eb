"""Write how far each release of vLLM is driven into its page: `make docs`.

`make registry VLLM=x.y.z` surveys the release and stores what it finds.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

LAB = Path(__file__).parent.parent / "docs" / "lab"
PAGE, SURVEY = LAB / "vllm.md", LAB / "vllm_registry.json"

# Of one entry on one GPU, the paths by outcome: "driven" or a sentence.
Outcomes = Mapping[str, Sequence[str]]

_DRIVEN, _PATHS = "driven", 5
_GPUS = ("SM80", "SM90", "SM100", "SM120")
_BETWEEN = re.compile(r"(<!-- make docs: registry -->\n).*?(<!-- end -->)", re.DOTALL)
_OWN_DEVICE = re.compile(r"; this is .*| on NVIDIA [^;.]*\)")


def rewritten(page: str) -> str:
    """The page's text with the tables of the stored survey."""
    survey = json.loads(SURVEY.read_text(encoding="utf-8"))
    tables = "\n".join(_release(name, found) for name, found in survey.items())
    return _BETWEEN.sub(lambda m: m[1] + tables + m[2], page)


def _release(name: str, found: Mapping[str, Mapping[str, Outcomes]]) -> str:
    by_entry = {entry: [found[gpu][entry] for gpu in _GPUS] for entry in found[_GPUS[0]]}
    lines = [
        f"### vLLM {name}\n",
        f"| entry | {' | '.join(_GPUS)} |",
        f"| --- |{' --- |' * len(_GPUS)}",
        *(f"| {entry} | {' | '.join(map(_cell, row))} |" for entry, row in by_entry.items()),
        "\nWhy not:\n",
        *_reasons(by_entry),
        *_selected(found.get("selected", {})),
        f"\nNot offered: {', '.join(found['not offered'])}.\n",
    ]
    return "\n".join(lines)


def _selected(found: Mapping[str, Mapping[str, object]]) -> list[str]:
    """The entry that vLLM's selector takes for each case, which is what `auto` stands for."""
    if not found:
        return []
    return [
        "\nTaken by vLLM's selector, which `auto` stands for:\n",
        f"| case | {' | '.join(_GPUS)} |",
        f"| --- |{' --- |' * len(_GPUS)}",
        *(
            f"| {case} | {' | '.join(str(found[gpu][case]) for gpu in _GPUS)} |"
            for case in found[_GPUS[0]]
        ),
    ]


def _cell(outcomes: Outcomes) -> str:
    driven = outcomes.get(_DRIVEN, ())
    return "driven" if len(driven) == _PATHS else ", ".join(driven) or "no"


def _reasons(by_entry: Mapping[str, Sequence[Outcomes]]) -> list[str]:
    """A line for each reason, with the entries and GPUs that it holds for."""
    holds: dict[str, dict[str, list[str]]] = {}
    for entry, row in by_entry.items():
        for gpu, outcomes in zip(_GPUS, row, strict=True):
            for sentence in outcomes:
                if sentence != _DRIVEN:
                    reason = _OWN_DEVICE.sub("", sentence).replace(f"vLLM's {entry} says", "vLLM")
                    holds.setdefault(reason, {}).setdefault(entry, []).append(gpu)
    return [
        f"- {reason}: "
        + ", ".join(f"{entry} ({', '.join(gpus)})" for entry, gpus in entries.items())
        for reason, entries in holds.items()
    ]


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
