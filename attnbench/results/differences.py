"""Differences between two runs, except times: the first suspects."""

from collections.abc import Mapping

from attnbench.provenance.environment import Environment
from attnbench.records import Run

# Facts that do not affect speed.
_UNTOLD = ("boot_id", "device")
_EXCHANGED = {
    "gpu_uuid": "another card of the same model, which may differ",
    "hostname": "another computer",
}

# Facts that `source_text` does not show.
_SOURCE_DETAILS = {
    "commit": "commit",
    "repository": "repository",
    "origin": "source found by",
    "dirty": "uncommitted changes",
}


def differences(base: Run, head: Run) -> list[str]:
    """A text per difference from `base` to `head`: source, software, machine."""
    before = Environment.from_facts(base.environment)
    return [
        *_source_changes(base.source, head.source),
        *before.differences(Environment.from_facts(head.environment)),
        *_machine_changes(base, head),
    ]


def source_text(source: Mapping[str, object]) -> str:
    """The code under test, e.g. "pr@0123456789ab with uncommitted changes"."""
    if source["commit"] is None:
        return "no git tree"
    dirty = " with uncommitted changes" if source["dirty"] else ""
    return f"{source['branch'] or 'detached'}@{str(source['commit'])[:12]}{dirty}"


def _source_changes(base: Mapping[str, object], head: Mapping[str, object]) -> list[str]:
    before, after = source_text(base), source_text(head)
    if before != after:
        return [f"source {before} -> {after}"]
    changed = [name for name in _SOURCE_DETAILS if base[name] != head[name]]
    return [f"{_SOURCE_DETAILS[n]} {_text(base[n])} -> {_text(head[n])}" for n in changed]


def _machine_changes(base: Run, head: Run) -> list[str]:
    if base.machine_model != head.machine_model:
        return [f"machine {base.machine_name} -> {head.machine_name}"]
    changed = {
        name: f"{_text(value)} -> {_text(head.machine[name])}"
        for name, value in base.machine.items()
        if name not in _UNTOLD and value != head.machine[name]
    }
    return [
        f"{name} {text}" if name not in _EXCHANGED else f"{_EXCHANGED[name]}: {text}"
        for name, text in changed.items()
    ]


def _text(value: object) -> object:
    return "unknown" if value is None or value == "" else value
