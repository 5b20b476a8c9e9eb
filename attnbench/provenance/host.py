"""Facts of this computer, from the operating system."""

import os
import platform
import re
from pathlib import Path

_CPU0 = Path("/sys/devices/system/cpu/cpu0")


def cpu_model() -> str:
    """The CPU's name, or its architecture if the system does not name it (Arm, macOS)."""
    named = re.search(r"^model name\s*:\s*(.+)$", _text("/proc/cpuinfo") or "", re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()


def last_level_cache_bytes() -> int | None:
    """The size of the largest-numbered cache level of the first CPU."""
    sizes = {}
    for index in _CPU0.glob("cache/index*"):
        level, size = _text(index / "level"), _text(index / "size")
        if level and size:
            sizes[int(level)] = int(size.removesuffix("K")) * 1024
    return sizes[max(sizes)] if sizes else None


def memory_bytes() -> int:
    """The physical memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def os_name() -> str:
    """The distribution with its version, e.g. "Ubuntu 24.04.1 LTS"."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def boot_id() -> str | None:
    """An identifier that changes with every boot of the kernel."""
    return _text("/proc/sys/kernel/random/boot_id")


def governor() -> str | None:
    """The frequency governor of the first CPU, e.g. "performance"."""
    return _text(_CPU0 / "cpufreq/scaling_governor")


def _text(path: str | Path) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
