"""`attnbench.load`: results as a pandas DataFrame."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from attnbench.db.store import Store
from attnbench.db.views import VIEWS, view_table
from attnbench.errors import UsageError

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["load"]  # public names, also of `import attnbench`


def load(db: str | Path, view: str = "results") -> "DataFrame":
    """A view of a database as a DataFrame: results, rounds, runs_flat or history.

    Times are in microseconds, dates in UTC; docs/reference/schema.md lists the columns. An older
    database is migrated first. Raises UsageError without pandas, and for an unknown view.
    """
    if view not in VIEWS:
        raise UsageError(f"view '{view}' is unknown; accepted are {', '.join(VIEWS)}")
    try:
        import pandas as pd
    except ModuleNotFoundError:
        raise UsageError(
            "attnbench.load needs pandas; install it: pip install 'attnbench[data]'"
        ) from None
    with Store.open(db, create=False) as store, store.reading() as session:
        rows = session.execute(select(view_table(view, store.engine.dialect.name)))
        # As plain tuples: pandas takes the column dtype of a named tuple for the row's type.
        return pd.DataFrame(map(tuple, rows), columns=list(rows.keys()))
