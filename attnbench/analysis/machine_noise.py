"""What one model of machine shows of noise: its own runs, moderated by the table of others."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from attnbench.analysis.estimate import STRATA, Noise
from attnbench.analysis.groups import Group
from attnbench.analysis.noise_table import TableNoise
from attnbench.analysis.repeats import Repeat, Seen, Squares, seen, squares_of
from attnbench.stats.moderation import NONE_SEEN, Wild, wild_of
from attnbench.stats.variance import UNKNOWN, Variance
from attnbench.units import counted

# What another machine of the model weighs beside this one, in degrees of freedom.
TABLE_DF = 4.0
_MIN_OWN_CELLS = 10


@dataclass(frozen=True)
class MachineNoise:
    """What one model of machine shows of noise in a database."""

    table: TableNoise
    repeats: tuple[Repeat, ...]  # equal code on one machine in several sessions
    device: Variance = UNKNOWN  # between cards of the model
    by_selfcheck: bool = False  # whether `selfcheck` measured any of them

    @cached_property
    def _squares(self) -> tuple[dict[str, Squares], Variance]:
        return squares_of(self.repeats)

    @cached_property
    def _groups(self) -> Mapping[tuple[str, str], Seen]:
        """By family and stratum, those of all families under an empty name."""
        groups: dict[tuple[str, str], list[Squares]] = defaultdict(list)
        for each in self._squares[0].values():
            family, stratum = each.group
            for key in ((family, stratum), ("", stratum), ("", "")):
                groups[key].append(each)
        return {key: found for key, listed in groups.items() if (found := seen(listed))}

    @cached_property
    def _wild(self) -> Wild:
        """The cells of all kinds that sessions move unlike the others of their kind."""
        groups: dict[Group, list[Squares]] = defaultdict(list)
        for each in self._squares[0].values():
            groups[each.group].append(each)
        kinds = [(self.seen(*group), cells) for group, cells in groups.items()]
        wild = [
            own for found, cells in kinds if found is not None for own in found.out_of_line(cells)
        ]
        return wild_of(wild, max(1, len(self._squares[0])))

    def seen(self, family: str, stratum: str) -> Seen | None:
        """What cells like it show: of its own kind, if they are enough, else of more kinds."""
        for key in ((family, stratum), ("", stratum)):
            if (found := self._groups.get(key)) and found.num_cells >= _MIN_OWN_CELLS:
                return found
        return self._groups.get(("", ""))

    def noise(self, family: str, stratum: str, cell: str = "") -> Noise:
        """Of a cell; `cell` is the hash of its case and method, if it may have been repeated."""
        table = self.table.noise(stratum)
        if (found := self.seen(family, stratum)) is None:
            return replace(table, device=self._device(table))
        squares, common = self._squares
        own = squares.get(cell)
        between = UNKNOWN if own is None else own.between
        was_off = own is not None and bool(found.out_of_line([own]))
        return Noise(
            session=Variance(
                self._moderated(found.known_session(between), table.session).value,
                found.session(between).df,
            ),
            common=self._moderated(common, table.common),
            device=self._device(table),
            wild=self._wild_of(between.df, table.wild, was_off),
            sessions=between.df,  # one less than there were: a side of the diff may be among them
            was_off=was_off,
            rounds=self._rounds_of(own, found, table.rounds),
            per_round=table.per_round,
        )

    def _rounds_of(self, own: Squares | None, found: Seen, table: Variance) -> Variance:
        """Of few cells, whose rounds may spread very unlike, each cell's own if they are known."""
        if own is not None and found.num_cells < _MIN_OWN_CELLS and own.rounds_to_expect.df:
            return own.rounds_to_expect
        return found.rounds if found.rounds.df else table

    def _wild_of(self, df: float, table: Wild, was_off: bool) -> Wild:
        """How a cell may be wild: seldom, if it was measured again and again and was not."""
        wild = self._wild
        if not wild.share:
            wild = Wild(NONE_SEEN / len(self._squares[0]), table.variance)
        return wild if was_off else wild.now_and_then(df)

    @property
    def source(self) -> str:
        """Where its noise comes from, for a person."""
        squares, _ = self._squares
        if not squares:
            return f"attnbench's own table of {self.table.name}"
        sessions = len({(each.state, each.session) for each in self.repeats})
        kind = "selfcheck and other repeated" if self.by_selfcheck else "repeated"
        cases = counted(len(squares), "case")
        text = f"{sessions} {kind} sessions of equal code here ({cases})"
        if self._disagrees():
            text += f"; attnbench's table of {self.table.name} disagrees, and the larger holds"
        return text

    def _disagrees(self) -> bool:
        """Whether the runs here and the table tell of unlike noise between sessions."""
        return self.table.measured and any(
            (found := self._groups.get(("", stratum)))
            and found.num_cells >= _MIN_OWN_CELLS
            and found.known_session().disagrees(self._prior(self.table.noise(stratum).session))
            for stratum in STRATA
        )

    def _moderated(self, own: Variance, table: Variance) -> Variance:
        """Where they disagree, the larger counts, unless the table is only a cautious guess."""
        if self.table.measured:
            return own.moderated(table, TABLE_DF)
        return own.pooled(table, TABLE_DF)

    def _prior(self, table: Variance) -> Variance:
        return Variance(table.value, min(table.df, TABLE_DF))

    def _device(self, table: Noise) -> Variance:
        return self.device.moderated(table.device, TABLE_DF)
