"""What runs that are measured, or resumed, have so far."""

from collections.abc import Collection

from sqlalchemy import delete, func, select

from attnbench.db.models import CaseRow, MachineRow, MeasurementRow, MethodRow, RunRow
from attnbench.db.noise import NoiseDatabase
from attnbench.db.queries import MAX_VALUES, batched
from attnbench.records import Status


class UnfinishedDatabase(NoiseDatabase):
    """Stored outcomes by their places in a run."""

    def done(self, run: int) -> set[tuple[str, str, int, Status]]:
        """The stored outcomes of a run: case key, method key, round and status."""
        query = (
            select(CaseRow.key, MethodRow.key, MeasurementRow.round, MeasurementRow.status)
            .join_from(MeasurementRow, CaseRow, MeasurementRow.case_id == CaseRow.id)
            .join(MethodRow, MeasurementRow.method_id == MethodRow.id)
            .where(MeasurementRow.run == run)
        )
        with self.reading() as session:
            return {
                (case, method, round_, Status(status))
                for case, method, round_, status in session.execute(query)
            }

    def cards(self, run: int) -> dict[str, str]:
        """By case key, the key of the machine that measured it."""
        card = func.coalesce(MeasurementRow.machine_id, RunRow.machine_id)
        query = (
            select(CaseRow.key, MachineRow.machine_key)
            .join_from(MeasurementRow, RunRow, MeasurementRow.run == RunRow.number)
            .join(CaseRow, MeasurementRow.case_id == CaseRow.id)
            .join(MachineRow, card == MachineRow.id)
            .where(MeasurementRow.run == run)
            .distinct()
        )
        with self.reading() as session:
            return dict(session.execute(query).all())

    def last_cards(self, cases: Collection[str], machines: Collection[str]) -> dict[str, str]:
        """By case key, the key of that one of these machines which measured it last, in any run."""
        card = func.coalesce(MeasurementRow.machine_id, RunRow.machine_id)
        newest = func.max(MeasurementRow.id)
        found: dict[str, str] = {}
        with self.reading() as session:
            for some in batched(sorted(cases), MAX_VALUES):
                query = (
                    select(CaseRow.key, MachineRow.machine_key)
                    .join_from(MeasurementRow, RunRow, MeasurementRow.run == RunRow.number)
                    .join(CaseRow, MeasurementRow.case_id == CaseRow.id)
                    .join(MachineRow, card == MachineRow.id)
                    .where(CaseRow.key.in_(some), MachineRow.machine_key.in_(machines))
                    .group_by(CaseRow.key, MachineRow.machine_key)
                    .order_by(newest)
                )
                found.update(session.execute(query).all())
        return found

    def forget(self, run: int, cases: Collection[str]) -> None:
        """Delete the run's outcomes of these cases, given by their keys: they begin again."""
        named = select(CaseRow.id).where(CaseRow.key.in_(cases))
        with self.writing() as session:
            session.execute(
                delete(MeasurementRow).where(
                    MeasurementRow.run == run, MeasurementRow.case_id.in_(named)
                )
            )

    def forget_rounds(
        self, runs: Collection[int], first: int, cases: Collection[str] | None = None
    ) -> None:
        """Delete the outcomes of these runs from round `first` on: of these cases, or of all."""
        later = [MeasurementRow.run.in_(runs), MeasurementRow.round >= first]
        if cases is not None:
            named = select(CaseRow.id).where(CaseRow.key.in_(cases))
            later.append(MeasurementRow.case_id.in_(named))
        with self.writing() as session:
            session.execute(delete(MeasurementRow).where(*later))
