"""The stored studies of docs/results conclude as the notebook says, by methods of any version."""

import lzma
from pathlib import Path

import pytest

from attnbench.db.store import Store
from attnbench.reporting.html.crossover import crossover_plot
from attnbench.results.report import read_report
from attnbench.studies.conclusion import conclude

DOCS = Path(__file__).parent.parent / "docs"
# By run the cells that have a time, and whether the notebook quotes the whole answer.
STORED = {3: 90, 4: 112, 5: 96, 6: 60, 7: 125}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stored") / "h200_studies.db"
    packed = DOCS / "results" / "h200_studies.db.xz"
    path.write_bytes(lzma.decompress(packed.read_bytes()))
    return path


@pytest.mark.parametrize(("run", "timed"), STORED.items())
def test_the_notebook_quotes_what_a_stored_run_concludes(
    stored: Path, run: int, timed: int
) -> None:
    notebook = " ".join((DOCS / "lab" / "studies.md").read_text().split())
    with Store.open(stored) as store:
        found = conclude(store, run)
    assert found.cells[0].startswith(f"{timed} of ")
    words = ("tie: ", "unclear: ")  # explained elsewhere
    quoted = [line for line in found.answer if not line.startswith(words)]
    assert [line for line in quoted if line not in notebook] == []


@pytest.mark.parametrize("run", [1, 2])
def test_a_page_and_a_study_name_the_same_crossovers(stored: Path, run: int) -> None:
    """A search has single rounds far from a crossover and three near it: no verdict of its own."""
    with Store.open(stored) as store:
        report = read_report(store, [str(run)])
        (cohort,) = report.cohorts_of(report.selections[0])
        plot = crossover_plot(cohort, cohort.right, "plot")
        answer = " ".join(conclude(store, run).answer)
    assert plot is not None
    titles = [choice.figure["layout"]["title"]["text"] for choice in plot.choices]
    assert len(titles) == 16
    assert [title for title in titles if title not in answer] == []
