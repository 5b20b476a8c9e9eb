"""How long each part of a job takes."""

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stopwatch:
    """Seconds of each part of a job."""

    durations: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, name: str) -> None:
        """Book the time since the last lap."""
        now = time.perf_counter()
        self.durations[name], self._last = now - self._last, now
