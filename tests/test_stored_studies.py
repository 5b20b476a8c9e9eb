"""The stored studies of docs/results conclude as the notebook and the pages say."""

import lzma
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import delete

from attnbench.analysis.auto import choices
from attnbench.analysis.series import series_of
from attnbench.cli import cli
from attnbench.db.models import MeasurementRow
from attnbench.db.store import Store
from attnbench.reporting.auto import REGRET, choice_columns
from attnbench.reporting.html.crossover import crossover_plot
from attnbench.results.report import read_report, read_run
from attnbench.studies.answers.base import place_columns
from attnbench.studies.charts import Heat, Lines, Rows, is_open
from attnbench.studies.conclusion import conclude, conclusion_text
from attnbench.studies.page import study_parts
from attnbench.units import three_digits

DOCS = Path(__file__).parent.parent / "docs"
OLD, NEW, TRAFFIC = "h200_studies.db", "h200_served_studies.db", "h200_traffic.db"
RAGGED = "h200_ragged.db"
PLACES = ("best", "unclear", "next", "vs best")
PAGES = {OLD: "studies.md", NEW: "studies.md", RAGGED: "studies.md", TRAFFIC: "traffic.md"}
# The runs that the notebook quotes whole, with the cells that have a time.
QUOTED = [(NEW, 12, 90), (NEW, 13, 112), (OLD, 5, 96), (NEW, 10, 125), (NEW, 9, 60)]
QUOTED += [
    (RAGGED, 1, 120),
    (RAGGED, 3, 72),
    (TRAFFIC, 1, 96),
    *((TRAFFIC, run, 72) for run in (*range(3, 6), 8, 9, 17, 18, 19)),
]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the databases."""
    folder = tmp_path_factory.mktemp("stored")
    for name in PAGES:
        packed = DOCS / "results" / f"{name}.xz"
        (folder / name).write_bytes(lzma.decompress(packed.read_bytes()))
    return folder


@pytest.mark.parametrize(("name", "run", "timed"), QUOTED)
def test_the_notebook_quotes_what_a_stored_run_concludes(
    stored: Path, name: str, run: int, timed: int
) -> None:
    notebook = " ".join((DOCS / "lab" / PAGES[name]).read_text().split())
    with Store.open(stored / name) as store:
        found = conclude(store, run)
    assert found.cells[0].startswith(f"{timed} of ")
    words = ("tie: ", "unclear: ")  # explained elsewhere
    quoted = [line for line in found.answer if not line.startswith(words)]
    assert [line for line in quoted if line not in notebook] == []


@pytest.mark.parametrize("width", [80, 120])
def test_a_narrow_terminal_leaves_out_where_the_time_of_traffic_goes(
    stored: Path, width: int
) -> None:
    with Store.open(stored / TRAFFIC) as store:
        lines = conclusion_text(conclude(store, 1), width).splitlines()
    assert max(map(len, lines)) <= width
    assert ("a wider terminal also shows: decode %, mixed %, prefill %" in lines) is (width == 80)


@pytest.mark.parametrize("run", [3, 6, 13])
def test_a_batch_has_in_a_study_the_place_that_report_shows(stored: Path, run: int) -> None:
    """Decodes and prompts have methods of their own: tested together, 5 of run 6 were slower."""
    with Store.open(stored / TRAFFIC) as store:
        found = conclude(store, run).tables[-1].columns
        report = read_run(store, run)
        cohorts = report.cohorts_of(report.selections[0])
        shown = place_columns([each for cohort in cohorts for each in cohort.rankings], {})
    texts = [sorted(zip(*map(each.get, PLACES), strict=True)) for each in (found, shown)]
    assert texts[0] == texts[1]


def test_head_counts_in_a_server_and_back_to_back_are_of_the_stored_runs(stored: Path) -> None:
    with Store.open(stored / NEW) as store:
        times = {
            (run, str(each.case.batch), each.case.backend): each.time or 0
            for run in (12, 3)
            for each in series_of(store.measurements((run,)))
            if each.case.shape.num_q_heads == 128
        }
    page = (DOCS / "lab" / PAGES[NEW]).read_text()
    _, _, rest = page.partition("| batch | in a server: flashattn_mla |")
    rows = [line.strip("| ").split(" | ") for line in rest.split("\n\n")[0].splitlines()[2:]]
    assert len(rows) == 6
    for batch, *cells in rows:
        for run, shown in ((12, cells[:3]), (3, cells[3:])):
            ours, other = (times[run, batch, name] for name in ("flashattn_mla", "flashmla"))
            texts = [three_digits(1e6 * each) for each in (ours, other)]
            assert shown == [*texts, f"{100 * (ours / other - 1):+.0f} %"]


def test_what_auto_loses_is_the_same_in_a_study_and_in_report(stored: Path) -> None:
    with Store.open(stored / NEW) as store:
        found = conclude(store, 10).tables[-1].columns
        report = read_run(store, 10)
        listed = report.cohorts_of(report.selections[0])
        chosen = [choices(each.rankings, each.series, each.noise_of) for each in listed]
    shown = choice_columns([each for group in chosen for each in group])[REGRET]
    assert sorted(shown) == sorted(found[REGRET])
    assert len(shown) == 25


def test_a_study_timed_by_what_calls_add_to_a_layer_says_so(stored: Path) -> None:
    with Store.open(stored / NEW) as store:
        found = [conclude(store, run).where for run in (3, 7)]
    assert ["a layer between calls, layer method 1 (now 2 or 3)" in each for each in found] == [
        False,
        True,
    ]


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


def test_a_curve_that_ends_before_its_crossover_stands_as_an_open_end(stored: Path) -> None:
    with Store.open(stored / NEW) as store:
        (chart,) = conclude(store, 1).charts
    assert isinstance(chart, Lines)
    *others, last = chart.series["flashmla, num_q_heads 128, context 1k"]
    assert [is_open(spot) for spot in others] == [False] * 4
    assert last == (256, 64, 64, None)  # "decode wins up to 64, the last length measured"


STORED = [(OLD, run) for run in (*range(1, 11), 38)] + [
    (NEW, run) for run in (*range(1, 7), *range(8, 14))
]
STORED += [(RAGGED, 1), (RAGGED, 2), (RAGGED, 3), *((TRAFFIC, run) for run in range(1, 20))]


@pytest.mark.parametrize(("name", "run"), STORED)
def test_every_stored_study_concludes_as_stored_and_on_its_page(
    stored: Path, name: str, run: int
) -> None:
    with Store.open(stored / name) as store:
        before = store.conclusion(run)
        found = conclude(store, run)
        (part,) = study_parts(store, read_report(store, [str(run)]))
    assert before is not None
    assert not found.cells[0].startswith("0 of ")
    assert found.cells[0] == before["cells"][0]
    assert all(head.tip for table in part.tables for head in table.heads)
    assert (part.question, part.answer, part.doubts) == (found.question, found.answer, found.doubts)
    assert [plot.title for plot in part.plots] + [heat.title for heat in part.maps] == [
        chart.title for chart in found.charts
    ]
    rows = [len(next(iter(table.columns.values()))) for table in found.tables]
    assert [table.count for table in part.tables] == rows


TRACES = {"Azure code": "az_code", "Azure conversations": "az_conv"}
TRACES |= {"Mooncake conversations": "mooncake_conversation_4000"}


def of_traces(columns: int) -> list[list[str]]:
    """The rows of the page's tables that have a trace and so many columns."""
    lines = (DOCS / "lab" / PAGES[TRAFFIC]).read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return [row for row in rows if len(row) == columns and row[0] in TRACES]


def test_tables_of_traffic_are_of_the_stored_studies(stored: Path) -> None:
    with Store.open(stored / TRAFFIC) as store:
        runs = {run.label: conclude(store, run.number).tables[0].columns for run in store.runs()}
    totals, kinds = of_traces(7), of_traces(5)
    assert len(totals) == len(kinds) == 9
    for row, shares in zip(totals, kinds, strict=True):
        assert row[:2] == shares[:2]
        name, *columns = runs[f"traffic {TRACES[row[0]]}-{row[1].partition('/')[0]}"].values()
        seconds, interval, of_request, against, *parts = columns
        assert row[2:5] == [name[0], f"{seconds[0]} [{interval[0]}]", of_request[0]]
        for at, cell in enumerate(row[5:], 1):
            assert cell.removesuffix(", a tie") == f"{name[at]} {against[at]}"
        assert shares[2:] == [f"{part[0]} %" for part in parts]


def test_the_table_of_sdpa_is_of_the_stored_studies(stored: Path) -> None:
    rows = of_traces(6)
    assert len(rows) == 6
    with Store.open(stored / TRAFFIC) as store:
        for _, _, flash, sdpa, against, runs in rows:
            run, *other = map(int, runs.split(" and "))
            columns = list(conclude(store, run).tables[0].columns.values())
            names, seconds, change = columns[0], columns[1], columns[4]
            at = names.index("sdpa")
            assert sdpa == seconds[at]
            if other:
                seconds = conclude(store, *other).tables[0].columns["s per M output tokens"]
                assert against == f"{float(sdpa) / float(seconds[0]):.1f} times"
            else:
                assert against == change[at]
            assert flash.removesuffix(", another card") == seconds[0]


def test_24_batches_of_a_trace_took_as_long_as_240(stored: Path) -> None:
    with Store.open(stored / TRAFFIC) as store:
        few, many = (conclude(store, run).charts[0] for run in (10, 11))
    assert isinstance(few, Rows)
    assert isinstance(many, Rows)
    assert few.rows[0] == many.rows[0] == "all steps"
    seconds = [chart.series["flash"][0][1] for chart in (few, many)]
    assert seconds[0] == pytest.approx(seconds[1], rel=0.03)


def test_a_conclusion_of_nothing_replaces_none(stored: Path, tmp_path: Path) -> None:
    """As of a run whose outcomes were deleted, or measured by a method that is not its first."""
    path = tmp_path / NEW
    path.write_bytes((stored / NEW).read_bytes())
    with Store.open(path) as store:
        before = store.conclusion(3)
        with store.writing() as session:
            session.execute(delete(MeasurementRow))
        assert conclude(store, 3).cells[0] == "0 of 0 cases have a time"
        assert store.conclusion(3) == before
    done = CliRunner().invoke(cli, ["study", "conclude", "3", "--db", str(path)])
    assert done.exit_code == 1


def test_maps_of_a_study_hatch_what_is_not_shown(stored: Path) -> None:
    with Store.open(stored / NEW) as store:
        (part,) = study_parts(store, read_report(store, ["6"]))
        chart = next(each for each in conclude(store, 6).charts if isinstance(each, Heat))
    (heat,) = part.maps
    texts = {tuple(cell.lines): cell.style for _, cells in heat.rows for cell in cells if cell}
    assert {style for lines, style in texts.items() if "unclear" in lines} == {"doubt"}
    assert {style for lines, style in texts.items() if lines[0].startswith("+5")} == {"more"}
    assert {style for lines, style in texts.items() if lines[0].startswith("-5")} == {"less"}
    assert [name for name, _ in heat.rows] == list(chart.ys)
    assert heat.row_name == "backend, decode_kernel, q_len, kv_len"
    assert chart.ys[0] == "flash, auto, 1, 1k"
