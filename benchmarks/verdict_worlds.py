"""Simulated machines and what is known of their noise; for verdicts.py."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attnbench.analysis.estimate import EXACT, Cell, NoiseOf
from attnbench.analysis.machine_noise import MachineNoise
from attnbench.analysis.noise_table import ANY_GPU, CPU, noise_table
from attnbench.analysis.repeats import Repeat
from attnbench.stats.variance import Variance

Times = NDArray[np.float64]
_TABLES = {"H200": "NVIDIA H200", "any": ANY_GPU, "CPU": CPU}
Source = Literal[
    "known", "selfcheck 2", "selfcheck 3", "history 6", "table H200", "table any", "table CPU"
]
SOURCES: tuple[Source, ...] = (
    *("known", "selfcheck 2", "selfcheck 3", "history 6", "table H200", "table any"),
)


@dataclass(frozen=True)
class World:
    """Standard deviations of ln(time): of rounds, of a cell in a session, of all cells in one."""

    rounds: float = 0.003
    unequal: float = 0.5  # of the logarithm of a cell's standard deviation of rounds
    session: float = 0.0
    session_unequal: float = 0.0
    busy: float = 0.0  # the variance between a cell's sessions, per variance of its rounds
    common: float = 0.0
    heavy: bool = False  # rounds are Student's with 3 degrees of freedom
    modes: float = 0.0  # share of cells with two modes 4 % apart
    modes_by: Literal["round", "session"] = "round"
    slow: float = 0.5  # how often such a cell is in its slow mode
    off: float = 0.0  # share of a session's cells that are 4 % slower for once
    prior: tuple[float, float] | None = None  # rounds' variances as limma's model has them

    def simulated(self, rng: np.random.Generator, cells: int) -> "Machine":
        return Machine(self, rng, cells)


class Machine:
    """Cells with their own noise, in sessions."""

    def __init__(self, world: World, rng: np.random.Generator, cells: int) -> None:
        self.world, self.rng, self.cells = world, rng, cells
        self.times = np.exp(rng.uniform(math.log(5e-6), math.log(5e-3), cells))
        if world.prior:
            sd, df = world.prior
            self.rounds = sd / math.sqrt(2) * np.sqrt(df / rng.chisquare(df, cells))
        else:
            self.rounds = world.rounds * _unequal(rng, cells, world.unequal)
        self.session = np.hypot(
            world.session * _unequal(rng, cells, world.session_unequal),
            math.sqrt(world.busy) * self.rounds,
        )
        self.bimodal = rng.random(cells) < world.modes

    def log_times(self, rounds: int, fresh: bool = False) -> Times:
        """Of a session, cells by rounds; `fresh` as if each round were a session of its own."""
        rng, shape = self.rng, (self.cells, rounds)
        sessions = rounds if fresh else 1
        draw = (
            rng.standard_t(3, shape) / math.sqrt(3) if self.world.heavy else rng.normal(size=shape)
        )
        log = self.rounds[:, None] * draw
        log += self.session[:, None] * rng.normal(size=(self.cells, sessions))
        log += 0.0 if fresh else rng.normal(0, self.world.common)
        log += 0.04 * (rng.random((self.cells, sessions)) < self.world.off)
        by = rounds if self.world.modes_by == "round" else sessions
        slow = rng.random((self.cells, by)) < self.world.slow
        return log + np.where(self.bimodal[:, None] & slow, 0.04, 0.0)

    def diff(self, rounds: int, change: Times | None = None, paired: bool = False) -> list[Cell]:
        base, head = self.log_times(rounds, paired), self.log_times(rounds, paired)
        head = head if change is None else head + change[:, None]
        return [
            Cell(str(at), self._rounds(at, base[at]), self._rounds(at, head[at]), paired)
            for at in range(self.cells)
        ]

    def repeats(self, sessions: int, rounds: int) -> Iterator[Repeat]:
        for session in range(sessions):
            log = self.log_times(rounds)
            for at in range(self.cells):
                yield Repeat("", "", session, "attn", str(at), self._rounds(at, log[at]))

    def _rounds(self, at: int, log: Times) -> tuple[float, ...]:
        return tuple((self.times[at] * np.exp(log)).tolist())

    def noise(self, source: Source, rounds: int) -> NoiseOf:
        """What is known of it: exactly, from its own repeated runs, or from a table alone."""
        if source == "known":
            return lambda cell: replace(
                EXACT,
                session=Variance(self.world.session**2, math.inf),
                common=Variance(self.world.common**2, math.inf),
            )
        kind, count = source.split()
        if kind == "table":
            table = noise_table(_TABLES[count])
            return lambda cell: table.noise(cell.stratum)
        seen = tuple(self.repeats(int(count), rounds))
        known = MachineNoise(noise_table(ANY_GPU), seen)
        return lambda cell: known.noise("attn", cell.stratum, cell.key)


def _unequal(rng: np.random.Generator, cells: int, spread: float) -> Times:
    """Factors whose mean square is 1."""
    return np.exp(rng.normal(0, spread, cells) - spread**2)


INTERLEAVED = {
    "A (as measured)": World(prior=(0.0015, 2.0)),
    "B (as measured)": World(prior=(0.002, 1.3)),
    "side 0.2 %": World(rounds=0.002),
    "side 0.5 %": World(rounds=0.005),
    "side 1 %": World(rounds=0.01),
    "side 1 %, t3": World(rounds=0.01, heavy=True),
    "side 2 %": World(rounds=0.02),
    "10 % of cells two modes, half slow": World(rounds=0.002, modes=0.1),
    "10 % of cells two modes, 15 % slow": World(rounds=0.002, modes=0.1, slow=0.15),
    "all cells two modes": World(rounds=0.002, modes=1.0),
}
SEPARATE = {
    **{f"session {100 * sd:g} %": World(session=sd) for sd in (0.001, 0.002, 0.005, 0.01, 0.02)},
    "session 1 %, t3": World(session=0.01, heavy=True),
    "session 0.5 % rms, unequal": World(session=0.005, session_unequal=0.8),
    "session 1 % rms, unequal": World(session=0.01, session_unequal=0.8),
    "common 0.5 %": World(common=0.005),
    "common 1 %": World(common=0.01),
    "5 % of cells two modes by session": World(modes=0.05, modes_by="session"),
    "10 % of cells two modes by session": World(modes=0.1, modes_by="session"),
    "the same, 10 % slow": World(modes=0.1, modes_by="session", slow=0.1),
    "0.5 % of cells 4 % slower in a session": World(rounds=0.002, session=0.001, off=0.005),
}
# By sessions on two shared cores: half of the cells spread by 2 %, some by 10 %.
ON_CPU = {
    "quiet": World(rounds=0.003, session=0.004, common=0.002),
    "as measured": World(rounds=0.05, unequal=0.9, session=0.007, common=0.005, busy=0.25),
    "rounds as measured, t3": World(
        rounds=0.05, unequal=0.9, session=0.007, common=0.005, busy=0.25, heavy=True
    ),
    "sessions as rounds": World(rounds=0.05, unequal=0.9, session=0.007, common=0.005, busy=1.0),
    "session 2 %": World(rounds=0.003, session=0.02, common=0.01),
    "all cells two modes by session": World(
        rounds=0.003, session=0.004, modes=1.0, modes_by="session"
    ),
    "other programs, as measured": World(rounds=0.3, unequal=0.3, common=0.18, busy=0.2),
}
