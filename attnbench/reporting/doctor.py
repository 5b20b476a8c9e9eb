"""`doctor` as text."""

from collections.abc import Sequence

from attnbench.families import FAMILIES
from attnbench.kernels.registry import own_problems
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.reporting.text_table import WIDTH, wrapped
from attnbench.running.this_machine import Examination
from attnbench.units import bytes_text, clock_text, counted


def doctor_text(found: Examination, width: int = WIDTH) -> str:
    """A verdict on what can be measured here, the refusals, and where it would be measured."""
    blocks = [
        [*_verdict(found), *_refusals(found.backends)],
        _where(found),
        list(dict.fromkeys(each for family in FAMILIES for each in own_problems(family))),
    ]
    return "\n\n".join("\n".join(_wrapped(each, width) for each in b) for b in blocks if b)


def _wrapped(line: str, width: int) -> str:
    return wrapped(line, width, "    " if line.startswith(" ") else "  ")


def _verdict(found: Examination) -> list[str]:
    if found.failure is not None:
        failure = f"the worker that looks at the device failed: {found.failure}"
        return [f"this machine can measure nothing: {failure}"]
    can = _by_family([(family, name) for family, name, why in found.backends if why is None])
    return ["this machine can measure:", *can] if can else ["this machine can measure nothing"]


def _refusals(backends: Sequence[tuple[str, str, str | None]]) -> list[str]:
    """Each reason, with the backends that cannot run for it below."""
    alike: dict[str, list[tuple[str, str]]] = {}
    for family, name, why in backends:
        if why is not None:
            alike.setdefault(why, []).append((family, name))
    return [
        line
        for why, those in alike.items()
        for line in (
            f"{counted(len(those), 'backend')} cannot run here: {why}",
            *_by_family(those),
        )
    ]


def _by_family(backends: Sequence[tuple[str, str]]) -> list[str]:
    """A line for each family: "  attn: naive, sdpa"."""
    families: dict[str, list[str]] = {}
    for family, name in backends:
        families.setdefault(family, []).append(name)
    return [f"  {family}: {', '.join(listed)}" for family, listed in families.items()]


def _where(found: Examination) -> list[str]:
    """The machine, the software and the code under test, a line each."""
    source = found.source
    at = f"{source.branch or 'detached'} @ {(source.commit or '')[:12]}" if source.commit else ""
    dirty = f"dirty: {source.dirty}" if source.dirty else ""
    lines = [f"code under test: {'; '.join(filter(None, [source.origin, at, dirty]))}"]
    if found.environment is not None:
        lines.insert(0, _line("software", environment_facts(found.environment)))
    if found.machine is not None:
        lines.insert(0, _line("machine", machine_facts(found.machine)))
    return lines


def _line(title: str, facts: Sequence[tuple[str, str]]) -> str:
    """All known facts; the device needs no name."""
    texts = [value if name == "device" else f"{name} {value}" for name, value in facts if value]
    return f"{title}: {'; '.join(texts)}"


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
