"""The noise that we measured, by model of machine: what holds where a database shows none.

`benchmarks/noise_table.py` writes the file from docs/results.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from attnbench.analysis.estimate import Noise
from attnbench.stats.moderation import Wild
from attnbench.stats.variance import Variance

ANY_GPU, CPU = "any NVIDIA GPU", "CPU"


@dataclass(frozen=True, slots=True)
class TableNoise:
    """One model's."""

    name: str
    by_stratum: Mapping[str, Noise]

    @property
    def measured(self) -> bool:
        """Whether it is of this very model."""
        return self.name not in (ANY_GPU, CPU)

    def noise(self, stratum: str) -> Noise:
        """Of cells of that duration."""
        return self.by_stratum[stratum]


@cache
def noise_table(machine: str) -> TableNoise:
    """By the machine's name, e.g. "NVIDIA H200"; ANY_GPU and CPU name the rest of each kind."""
    tables = json.loads(files("attnbench.analysis").joinpath("noise_table.json").read_text())
    name = machine if machine in tables else ANY_GPU if "NVIDIA" in machine else CPU
    return TableNoise(name, {stratum: _noise(each) for stratum, each in tables[name].items()})


def _noise(facts: Mapping[str, Any]) -> Noise:
    share, *wild = facts["wild"]
    session, common, device, rounds = (
        Variance(*facts[name]) for name in ("session", "common", "device", "rounds")
    )
    return Noise(
        session,
        common,
        device,
        wild=Wild(share, Variance(*wild)),
        rounds=rounds,
        per_round=facts["per_round"],
        stored=False,
    )
