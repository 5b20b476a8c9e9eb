"""Writes attnbench/analysis/noise_table.json from the runs in docs/results.

    python benchmarks/noise_table.py

Sessions of equal code on one machine give what a session does to a cell and to all; cards of one
model that measured equal cases give what a card does. A GPU that is not listed gets four times the
variances of those that are (twice the spread), worth few degrees of freedom.
"""

import json
import lzma
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from attnbench.analysis.estimate import STRATA, Noise
from attnbench.analysis.noise_table import ANY_GPU, CPU
from attnbench.analysis.repeats import Repeat, Squares, between_cards, seen, squares_of
from attnbench.analysis.shift import CAUTIOUS_WILD
from attnbench.db.store import Store
from attnbench.results.noise import repeat_of, repeated_rows
from attnbench.stats.moderation import NONE_SEEN, Wild, wild_of
from attnbench.stats.variance import UNKNOWN, Variance

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
TABLE = ROOT / "attnbench" / "analysis" / "noise_table.json"
# The table is tried on the first three; some cells of the first two have work planted. The fourth
# was measured partly beside a busy card.
HELD_OUT = ("separate_runs", "limited_runs", "equal_runs", "two_cards")
# A CPU is as noisy as what else it runs. Sessions on two shared cores moved a case by 0.7 to 1 %
# and a fifth of the variance of its rounds; where other programs came and went by half of it, all
# cases alike, which takes three quarters (benchmarks/verdicts.py cpu). Single rounds may be off by
# a third.
ON_CPU = Noise(
    session=Variance(0.007**2, 4.0),
    common=Variance(0.002**2, 4.0),
    device=Variance(0.02**2, 4.0),
    rounds=Variance(0.3**2, 4.0),
    per_round=0.75,
    stored=False,
)
# What a machine that we never saw may differ by from those that we saw.
CAUTION, CAUTIOUS_DF = 4.0, 4.0
# A shift of all cells is seen in no scatter, and it makes all verdicts of a diff false at once.
COMMON_CAUTION, COMMON_DF = 16.0, 3.0
# A new session is not one of ours: no more degrees of freedom than so many sessions would give.
MOST_DF = 10.0


def main() -> None:
    repeats: dict[str, list[Repeat]] = defaultdict(list)
    cards: dict[str, list[Repeat]] = defaultdict(list)
    for path in sorted(set(RESULTS.glob("*.db.xz")) - {RESULTS / f"{x}.db.xz" for x in HELD_OUT}):
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "results.db"
            copy.write_bytes(lzma.decompress(path.read_bytes()))
            with Store.open(copy) as store:
                _read(store, path.name, repeats, cards)
    tables = {name: _table(listed, cards[name]) for name, listed in sorted(repeats.items())}
    tables[ANY_GPU] = _cautious(tables.values())
    tables[CPU] = dict.fromkeys(STRATA, ON_CPU)
    texts = {
        name: {stratum: _facts(noise) for stratum, noise in table.items()}
        for name, table in tables.items()
    }
    TABLE.write_text(json.dumps(texts, indent=1) + "\n")


def _read(
    store: Store, origin: str, repeats: dict[str, list[Repeat]], cards: dict[str, list[Repeat]]
) -> None:
    """By the name of the machine, with states that other files do not share."""
    for model, machine in {run.machine_model: run.machine_name for run in store.runs()}.items():
        rows = store.sessions(model)
        again = map(repeat_of, store.rounds(repeated_rows(rows)))
        repeats[machine] += [replace(each, state=(origin, each.state)) for each in again]
        # Commits of attnbench do not change what cards differ by.
        cards[machine] += [replace(repeat_of(each), state="") for each in store.rounds(rows)]


def _table(repeats: Iterable[Repeat], cards: Iterable[Repeat]) -> dict[str, Noise]:
    squares, common = squares_of(repeats)
    device = between_cards(cards)
    wilds = _wilds([[each for each in squares.values() if each.group[1] == s] for s in STRATA])
    table: dict[str, Noise] = {}
    for stratum, wild in zip(STRATA, wilds, strict=True):
        of_stratum = [each for each in squares.values() if each.group[1] == stratum]
        found = seen(of_stratum) or seen(list(squares.values()))
        assert found is not None
        session = found.session()
        table[stratum] = Noise(
            session=Variance(session.value, min(session.df, MOST_DF)),
            common=common,
            device=device,
            wild=wild,
            rounds=Variance(found.rounds.value, min(found.rounds.df, MOST_DF)),
            stored=False,
        )
    return table


def _wilds(kinds: Sequence[Sequence[Squares]]) -> list[Wild]:
    """The wild cells of each stratum; where none has any, there is half a one of all such cells."""
    found = [each.out_of_line(cells) if (each := seen(cells)) else [] for cells in kinds]
    every = wild_of([own for owns in found for own in owns], 1)
    tame = sum(len(cells) for cells, owns in zip(kinds, found, strict=True) if not owns)
    return [
        wild_of(owns, len(cells)) if owns else Wild(NONE_SEEN / tame, every.variance)
        for cells, owns in zip(kinds, found, strict=True)
    ]


def _cautious(tables: Iterable[Mapping[str, Noise]]) -> dict[str, Noise]:
    """A pool of all, wider."""
    listed = list(tables)
    pool: dict[str, Noise] = {}
    for stratum in STRATA:
        noises = [table[stratum] for table in listed]
        pool[stratum] = Noise(
            session=_widest(noise.session for noise in noises),
            common=_widest((noise.common for noise in noises), COMMON_CAUTION, COMMON_DF),
            device=_widest(noise.device for noise in noises),
            wild=CAUTIOUS_WILD,
            rounds=_widest(noise.rounds for noise in noises),
            stored=False,
        )
    return pool


def _widest(
    variances: Iterable[Variance], caution: float = CAUTION, df: float = CAUTIOUS_DF
) -> Variance:
    widest = max(variances, key=lambda each: each.value, default=UNKNOWN)
    return Variance(caution * widest.value, min(widest.df, df))


def _facts(noise: Noise) -> dict[str, list[float] | float]:
    def pair(variance: Variance) -> list[float]:
        return [float(f"{variance.value:.3g}"), float(f"{min(variance.df, MOST_DF):.3g}")]

    return {
        "session": pair(noise.session),
        "common": pair(noise.common),
        "device": pair(noise.device),
        "rounds": pair(noise.rounds),
        "per_round": float(f"{noise.per_round:.3g}"),
        "wild": [float(f"{noise.wild.share:.3g}"), *pair(noise.wild.variance)],
    }


if __name__ == "__main__":
    main()
