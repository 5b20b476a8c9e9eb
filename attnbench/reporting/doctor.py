"""`doctor` as text."""

from tabulate import tabulate

from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.reporting.text_table import WIDTH
from attnbench.running.examine import Examination
from attnbench.units import bytes_column, three_digits


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
    parts.append(_section("code under test", [("from", source.origin), ("commit", commit + dirty)]))
    rows = [(family, name, why or "ok") for family, name, why in found.backends]
    taken = sum(max(len(row[column]) for row in rows) + 2 for column in (0, 1))
    widths = [None, None, WIDTH - taken]
    parts.append(tabulate(rows, ("family", "backend", "state"), maxcolwidths=widths))
    return "\n\n".join(parts)


def _section(title: str, facts: list[tuple[str, str]]) -> str:
    shown = [(name, value) for name, value in facts if value]
    return (
        title + "\n" + tabulate([("  " + name, value) for name, value in shown], tablefmt="plain")
    )


def machine_facts(machine: Machine) -> list[tuple[str, str]]:
    """What a person wants to know of a machine; empty texts where nothing is known."""
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
    """Versions, with the commits that are known, and the variables."""
    listed = [("Python", environment.python)]
    for name, component in environment.components.items():
        commit = f" ({component.commit[:12]})" if component.commit else ""
        listed.append((name, f"{component.version}{commit}"))
    listed += [("CUDA", environment.cuda or ""), ("cuDNN", str(environment.cudnn or ""))]
    return listed + [(name, value) for name, value in environment.variables.items()]


def _bytes(count: int | None) -> str:
    if count is None:
        return ""
    unit, (text,) = bytes_column([count])
    return f"{text} {unit}"


def _clocks(machine: Machine) -> str:
    if machine.max_sm_clock_hz is None or machine.max_memory_clock_hz is None:
        return ""
    sm, memory = machine.max_sm_clock_hz / 1e9, machine.max_memory_clock_hz / 1e9
    return f"SM {three_digits(sm)} GHz, memory {three_digits(memory)} GHz"
