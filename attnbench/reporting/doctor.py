"""`doctor` as text."""

from collections.abc import Sequence
from itertools import zip_longest

from attnbench.families import FAMILIES
from attnbench.kernels.registry import own_problems
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source
from attnbench.reporting.text_table import WIDTH, Column, items, text_table, wrapped
from attnbench.running.this_machine import Examination
from attnbench.units import bytes_text, clock_text


def doctor_text(found: Examination) -> str:
    """The machine, the software, the code under test, and each backend's state."""
    parts = []
    if found.failure is not None:
        parts.append(f"The worker that looks at the device failed: {found.failure}")
    if found.machine is not None:
        parts.append(_section("machine", machine_facts(found.machine)))
    if found.environment is not None:
        parts.append(_section("software", environment_facts(found.environment)))
    source = found.source
    commit = (
        f"{source.branch or 'detached'} @ {(source.commit or '')[:12]}" if source.commit else ""
    )
    dirty = f" (dirty: {source.dirty})" if source.dirty else ""
    parts.append(
        _section("code under test", [("from", _origin(source)), ("commit", commit + dirty)])
    )
    parts.append(_states(found.backends))
    if problems := [each for family in FAMILIES for each in own_problems(family)]:
        parts.append(items(list(dict.fromkeys(problems))))
    return "\n\n".join(parts)


def _origin(source: Source) -> str:
    return "no git tree here" if source.origin == "none" else source.origin


def _section(title: str, facts: list[tuple[str, str]]) -> str:
    shown = [(name, value) for name, value in facts if value]
    longest = max(len(name) for name, _ in shown)
    return "\n".join([title, *(f"  {name:<{longest}}  {value}" for name, value in shown)])


def _states(backends: Sequence[tuple[str, str, str | None]]) -> str:
    """A row for all backends of a family in one state: ok, or why they cannot run; wrapped."""
    alike: dict[tuple[str, str], list[str]] = {}
    for family, name, why in backends:
        alike.setdefault((family, why or "ok"), []).append(name)
    room = WIDTH - 4 - max(len(family) for family, _, _ in backends)
    rows = [
        row
        for (family, state), names in alike.items()
        for row in zip_longest(
            [family],
            wrapped(", ".join(names), room // 2).splitlines(),
            wrapped(state, room - room // 2).splitlines(),
            fillvalue="",
        )
    ]
    headers = ("family", "backends", "state")
    columns = zip(headers, zip(*rows, strict=True), strict=True)
    return text_table([Column(header, texts, left=True) for header, texts in columns])


def machine_facts(machine: Machine) -> list[tuple[str, str]]:
    """The main facts of a machine; empty texts if unknown."""
    return [
        ("device", f"{machine.device}: {machine.label}"),
        ("memory", _bytes(machine.memory_bytes)),
        ("SMs", str(machine.sm_count or "")),
        ("L2" if machine.kind == "cuda" else "last-level cache", _bytes(machine.l2_bytes)),
        ("memory bus", f"{machine.memory_bus_bits} bit" if machine.memory_bus_bits else ""),
        ("maximum clocks", _clocks(machine)),
        ("power limit", f"{machine.power_limit_watts:g} W" if machine.power_limit_watts else ""),
        ("ECC", {True: "on", False: "off", None: ""}[machine.ecc]),
        ("MIG", {True: "on", False: "off", None: ""}[machine.mig]),
        ("driver", machine.driver or ""),
        ("UUID", machine.gpu_uuid or ""),
        ("CPU", f"{machine.cpu_model}, {machine.cpu_count} logical" if machine.cpu_model else ""),
        ("system", f"{machine.os}, kernel {machine.kernel}" if machine.os else ""),
    ]


def environment_facts(environment: Environment) -> list[tuple[str, str]]:
    """Versions, with known commits, and the variables."""
    listed = [("Python", environment.python)]
    for name, component in environment.components.items():
        commit = f" ({component.commit[:12]})" if component.commit else ""
        listed.append((name, f"{component.version}{commit}"))
    listed += [("CUDA", environment.cuda or ""), ("cuDNN", str(environment.cudnn or ""))]
    return listed + [(name, value) for name, value in environment.variables.items()]


def _bytes(count: int | None) -> str:
    return "" if count is None else bytes_text(count)


def _clocks(machine: Machine) -> str:
    sm, memory = machine.max_sm_clock_hz, machine.max_memory_clock_hz
    if sm is None or memory is None:
        return ""
    return f"SM {clock_text(sm)}, memory {clock_text(memory)}"
