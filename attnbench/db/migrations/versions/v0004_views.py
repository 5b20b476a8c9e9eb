"""What the views need of cases and machines, as columns."""

import sqlalchemy as sa
from alembic import op

from attnbench.db.view_facts import batch_lengths, machine_peaks
from attnbench.provenance.machine import Machine
from attnbench.specs.batch import parse_batch_spec

revision = "0004"
down_revision = "0003"

_LENGTHS = ("num_tokens", "num_kv_tokens", "q_len", "kv_len")
_PEAKS = ("bytes_per_second", "flops_16_bit", "flops_fp32", "flops_fp8")
_DAMAGED = (KeyError, TypeError, ValueError, AttributeError)


def upgrade() -> None:
    """Add the columns and fill them; they stay empty where a row cannot be read."""
    op.add_column("case", sa.Column("num_requests", sa.Integer(), nullable=True))
    for name in _LENGTHS:
        op.add_column("case", sa.Column(name, sa.BigInteger(), nullable=True))
    for name in _PEAKS:
        op.add_column("machine", sa.Column(name, sa.Double(), nullable=True))
    _fill_cases(op.get_bind())
    _fill_machines(op.get_bind())


def _fill_cases(connection: sa.Connection) -> None:
    case = sa.table("case", *map(sa.column, ("id", "batch", "num_requests", *_LENGTHS)))
    for id, batch in connection.execute(sa.select(case.c.id, case.c.batch)).all():
        try:
            found = batch_lengths(parse_batch_spec(batch))
        except _DAMAGED:
            continue
        connection.execute(case.update().where(case.c.id == id).values(**found))


def _fill_machines(connection: sa.Connection) -> None:
    facts = sa.column("facts", sa.JSON())
    machine = sa.table("machine", sa.column("id"), facts, *map(sa.column, _PEAKS))
    for id, text in connection.execute(sa.select(machine.c.id, machine.c.facts)).all():
        try:
            found = machine_peaks(Machine.from_facts(text))
        except _DAMAGED:
            continue
        connection.execute(machine.update().where(machine.c.id == id).values(**found))
