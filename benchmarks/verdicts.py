"""How often verdicts on simulated runs are right: false alarms on equal code, and changes found.

    python benchmarks/verdicts.py equal        # A/A: worlds of noise by source of what is known
    python benchmarks/verdicts.py changed      # power
    python benchmarks/verdicts.py gate         # a diff of 40 cells as a CI gate

The cells are simulated, the judgement is the real one: `compare_sides`, with noise as
`MachineNoise` makes it from simulated runs of equal code, or as the shipped table has it.
"""

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attnbench.analysis.compare import compare_sides
from attnbench.analysis.estimate import EXACT, Cell, Noise
from attnbench.analysis.machine_noise import MachineNoise
from attnbench.analysis.noise_table import ANY_GPU, noise_table
from attnbench.analysis.repeats import Repeat
from attnbench.stats.variance import Variance

Times = NDArray[np.float64]
NoiseOf = Callable[[Cell], Noise]
Source = Literal["known", "selfcheck 2", "selfcheck 3", "history 6", "table H200", "table any"]
SOURCES: tuple[Source, ...] = ("known", "selfcheck 2", "selfcheck 3", "history 6", "table any")


@dataclass(frozen=True)
class World:
    """Standard deviations of ln(time): of rounds, of a cell in a session, of all cells in one."""

    rounds: float = 0.003
    unequal: float = 0.5  # of the logarithm of a cell's standard deviation of rounds
    session: float = 0.0
    session_unequal: float = 0.0
    common: float = 0.0
    heavy: bool = False  # rounds are Student's with 3 degrees of freedom
    modes: float = 0.0  # share of cells with two modes 4 % apart
    modes_by: Literal["round", "session"] = "round"
    slow: float = 0.5  # how often such a cell is in its slow mode
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
        self.session = world.session * _unequal(rng, cells, world.session_unequal)
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
            table = noise_table("NVIDIA H200" if count == "H200" else ANY_GPU)
            return lambda cell: table.noise(cell.stratum)
        seen = tuple(self.repeats(int(count), rounds))
        known = MachineNoise(noise_table(ANY_GPU), seen)
        return lambda cell: known.noise("attn", cell.stratum, cell.key)


def _unequal(rng: np.random.Generator, cells: int, spread: float) -> Times:
    """Factors whose mean square is 1."""
    return np.exp(rng.normal(0, spread, cells) - spread**2)


@dataclass
class Rates:
    """Verdicts on cells that have not changed and on those that have, and diffs that erred."""

    equal: Counter[str]
    changed: Counter[str]
    diffs: int = 0
    erring: int = 0  # diffs with a false verdict
    failing: int = 0  # with a false `slower`, which is exit status 1

    def row(self, name: str) -> str:
        of = max(1, self.equal.total())
        false = 100 * (self.equal["slower"] + self.equal["faster"]) / of
        erring, failing = (100 * each / self.diffs for each in (self.erring, self.failing))
        text = (
            f"{name:60} false {false:6.3f} % of cells, {erring:5.1f} % of diffs (exit 1 "
            f"{failing:4.1f}), same {100 * self.equal['same'] / of:5.1f} %"
        )
        if self.changed:
            text += f"; found {100 * self.changed['slower'] / self.changed.total():5.1f} %"
        return text


def rates(
    world: World,
    source: Source,
    rounds: int,
    cells: int,
    diffs: int,
    change: float = 0.0,
    share: float = 0.0,
    paired: bool = False,
    seed: int = 1,
) -> Rates:
    rng = np.random.default_rng(seed)
    found = Rates(Counter(), Counter())
    for _ in range(diffs):
        machine = world.simulated(rng, cells)
        noise = machine.noise(source, rounds)
        changed = rng.random(cells) < share
        moved = np.where(changed, math.log1p(change), 0.0)
        judged = compare_sides(machine.diff(rounds, moved, paired), noise).comparisons
        verdicts = [each.verdict for each in judged]
        equal = Counter(v for v, c in zip(verdicts, changed, strict=True) if not c)
        found.equal += equal
        found.changed += Counter(v for v, c in zip(verdicts, changed, strict=True) if c)
        found.diffs += 1
        found.erring += bool(equal["slower"] + equal["faster"])
        found.failing += bool(equal["slower"])
    return found


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
}


def equal(diffs: int) -> None:
    for rounds in (2, 3, 5):
        for name, world in INTERLEAVED.items():
            found = rates(world, "known", rounds, 120, diffs, paired=True)
            print(found.row(f"interleaved R={rounds} {name}"), flush=True)
    for name, world in SEPARATE.items():
        for source in SOURCES:
            if source == "known" and (world.modes or world.session_unequal):
                continue  # no one variance is that of all cells
            found = rates(world, source, 3, 120, diffs)
            print(found.row(f"separate R=3 {name}; {source}"), flush=True)
    for cells in (1, 10, 40, 400, 10_000):
        some = max(3, min(diffs, 20_000 // cells))
        found = rates(World(session=0.002), "history 6", 3, cells, some)
        print(found.row(f"separate R=3 session 0.2 %; history 6; {cells} cells"), flush=True)
    for rounds in (1, 2, 5):
        found = rates(World(session=0.002), "table any", rounds, 120, diffs)
        print(found.row(f"separate R={rounds} session 0.2 %; table any"), flush=True)


def changed(diffs: int) -> None:
    for rounds in (3, 5):
        for name in ("A (as measured)", "B (as measured)", "side 0.5 %"):
            for share in (0.05, 0.5, 1.0):
                for change in (0.02, 0.03, 0.05):
                    found = rates(
                        INTERLEAVED[name], "known", rounds, 90, diffs // 2, change, share, True
                    )
                    label = (
                        f"interleaved R={rounds} {name}, {100 * share:g} % by {100 * change:g} %"
                    )
                    print(found.row(label), flush=True)
    sources: Sequence[Source] = ("known", "selfcheck 2", "history 6", "table H200", "table any")
    for source in sources:
        for sd in (0.001, 0.002, 0.003):
            for change in (0.02, 0.03, 0.05, 0.1):
                world = World(prior=(0.0015, 2.0), session=sd)
                found = rates(world, source, 5, 90, diffs // 2, change, 0.05)
                label = f"separate R=5 session {100 * sd:g} %, 5 % by {100 * change:g} %; {source}"
                print(found.row(label), flush=True)


def gate(diffs: int) -> None:
    for name, world in SEPARATE.items():
        for source in SOURCES:
            for rounds in (1, 3, 5):
                found = rates(world, source, rounds, 40, diffs)
                print(found.row(f"40 cells R={rounds} {name}; {source}"), flush=True)


if __name__ == "__main__":
    asked, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100
    {"equal": equal, "changed": changed, "gate": gate}[asked](count)
