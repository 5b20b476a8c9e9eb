"""Rows shared by many others: each is stored once and found by the hash of its content."""

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from attnbench.db.models import Keyed


def find_or_add(session: Session, row: Keyed) -> int:
    """The id of the row with this content, added if there is none yet."""
    kind = type(row)
    query = select(kind.id).where(kind.key == row.key)
    if (found := session.scalar(query)) is not None:
        return found
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:  # another process was first, on a database that takes many writers
        return session.execute(query).scalar_one()
    return row.id
