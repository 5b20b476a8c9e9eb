"""The stored studies of docs/results conclude as the notebook says, by methods of any version."""

import lzma
from pathlib import Path

import pytest

from attnbench.db.store import Store
from attnbench.reporting.html.crossover import crossover_plot
from attnbench.results.report import read_report
from attnbench.studies.conclusion import conclude

DOCS = Path(__file__).parent.parent / "docs"
OLD, NEW = "h200_studies.db", "h200_served_studies.db"
# The runs that the notebook quotes whole, with the cells that have a time.
QUOTED = [(NEW, 3, 90), (NEW, 4, 112), (OLD, 5, 96), (NEW, 5, 125), (NEW, 6, 60)]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both databases."""
    folder = tmp_path_factory.mktemp("stored")
    for name in (OLD, NEW):
        packed = DOCS / "results" / f"{name}.xz"
        (folder / name).write_bytes(lzma.decompress(packed.read_bytes()))
    return folder


@pytest.mark.parametrize(("name", "run", "timed"), QUOTED)
def test_the_notebook_quotes_what_a_stored_run_concludes(
    stored: Path, name: str, run: int, timed: int
) -> None:
    notebook = " ".join((DOCS / "lab" / "studies.md").read_text().split())
    with Store.open(stored / name) as store:
        found = conclude(store, run)
    assert found.cells[0].startswith(f"{timed} of ")
    words = ("tie: ", "unclear: ")  # explained elsewhere
    quoted = [line for line in found.answer if not line.startswith(words)]
    assert [line for line in quoted if line not in notebook] == []


@pytest.mark.parametrize("name", [OLD, NEW])
@pytest.mark.parametrize("run", [1, 2])
def test_a_page_and_a_study_name_the_same_crossovers(stored: Path, name: str, run: int) -> None:
    """A search has single rounds far from a crossover and three near it: no verdict of its own."""
    with Store.open(stored / name) as store:
        report = read_report(store, [str(run)])
        (cohort,) = report.cohorts_of(report.selections[0])
        plot = crossover_plot(cohort, cohort.right, "plot")
        answer = " ".join(conclude(store, run).answer)
    assert plot is not None
    titles = [choice.figure["title"] for choice in plot.choices]
    assert len(titles) == 16
    assert [title for title in titles if title not in answer] == []
