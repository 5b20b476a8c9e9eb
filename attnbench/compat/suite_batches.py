"""The batches of a config of vLLM's benchmark suite, as keys of a study's products."""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from attnbench.errors import UsageError
from attnbench.specs.batch import parse_batch_spec


def take_batches(config: MutableMapping[str, Any], file: str) -> list[dict[str, Any]]:
    """Specs, ranges and sizes, taken out of the config; UsageError if it has none."""
    specs = config.pop("batch_specs", None) or []
    ranges = config.pop("batch_spec_ranges", None) or []
    sizes = config.pop("batch_sizes", None)
    found: list[dict[str, Any]] = []
    if specs and sizes:
        templates = [f"{{batch_size}}{_spelled(text)}" for text in specs]
        found.append({"batch": templates, "batch_size": sizes})
    elif specs:
        found.append({"batch": list(dict.fromkeys(map(_spelled, specs)))})
    found += [_range(each, sizes, file) for each in ranges]
    if not found:
        raise UsageError(f"{file}: expected batch_specs or batch_spec_ranges")
    return found


def _range(given: Mapping[str, Any], sizes: Sequence[int] | None, file: str) -> dict[str, Any]:
    if "template" not in given:
        raise UsageError(f"{file}: a batch_spec_ranges item has no template")
    variables = {
        name: _range_text(value) if isinstance(value, dict) else value
        for name, value in given.items()
        if name != "template"
    }
    template = str(given["template"])
    if len(variables) == 1:
        template = template.replace("{}", f"{{{next(iter(variables))}}}")
    if not sizes:
        return {"batch": template, **variables}
    return {"batch": f"{{batch_size}}{template}", "batch_size": list(sizes), **variables}


def _range_text(given: Mapping[str, Any]) -> str:
    last = int(given["stop"]) - (0 if given.get("end_inclusive", True) else 1)
    step = given.get("step", 1)
    return f"{given['start']}..{last}" + (f":{step}" if step != 1 else "")


def _spelled(text: str) -> str:
    return str(parse_batch_spec(text))
