"""Runs that several cards shared, as stored results: each outcome is of its own card."""

import csv
import io
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.analysis.series import series_of
from attnbench.db.store import Store
from attnbench.db.transfer import merge
from attnbench.provenance.machine import Machine
from attnbench.reporting.diff_text import diff_text
from attnbench.reporting.export import write_csv
from attnbench.reporting.report import View, report_text
from attnbench.results.cards import card_names
from attnbench.results.diff import diff
from attnbench.results.report import read_run
from attnbench.specs.case import Case
from attnbench.timing.finished import Finished
from tests.stored_pages import OLDER
from tests.stored_results import H200, ON_GPU, attn, start, timed

SECOND = replace(H200, device="cuda:1", gpu_uuid="GPU-82a1f00d-1")
ELSEWHERE = replace(SECOND, device="cuda:0", hostname="crate")
SHORT, LONG = "q1kv1k", "q1kv8k"


def fill(store: Store, run: int, case: Case, seconds: float, card: Machine | None) -> None:
    rounds = enumerate(timed(case, seconds, seconds * 1.001))
    store.add_all(run, [Finished(case, ON_GPU, at, at, each, card) for at, each in rounds])


def shared(store: Store, other: Machine | None = SECOND) -> int:
    """A run whose long cases are of the other card, if there is one."""
    run = start(store)
    for spec, card in ((SHORT, None), (LONG, other)):
        for backend, seconds in (("sdpa", 1e-5), ("flash", 2e-5)):
            fill(store, run, attn(spec, backend, "bf16"), seconds, card)
    return run


def table(store: Store, run: int) -> str:
    found = read_run(store, run)
    return report_text(found, View(width=100))


def test_rows_of_several_cards_say_their_card(tmp_path: Path) -> None:
    with Store.open(tmp_path / "r.db") as store:
        text = table(store, shared(store))
    assert "attn on 2 x NVIDIA H200 (SM90)" in text
    rows = {line.split()[0]: line for line in text.splitlines() if line.startswith("q1kv")}
    assert "cuda:0" in rows[SHORT]
    assert "cuda:1" in rows[LONG]
    assert (
        "2 cards of this model share the table (cuda:0, cuda:1); each workload was measured on one"
    ) in " ".join(text.split())


def test_a_workload_of_two_cards_is_told(tmp_path: Path) -> None:
    with Store.open(tmp_path / "r.db") as store:
        run = start(store)
        fill(store, run, attn(SHORT, "sdpa", "bf16"), 1e-5, None)
        fill(store, run, attn(SHORT, "flash", "bf16"), 2e-5, SECOND)
        text = " ".join(table(store, run).split())
    assert "the rows of 1 workload are of several, so a difference may be the card's" in text


def test_a_table_of_one_card_does_not_mention_it(tmp_path: Path) -> None:
    with Store.open(tmp_path / "r.db") as store:
        text = table(store, shared(store, other=H200))
    assert "card" not in text
    assert "attn on NVIDIA H200 (SM90)" in text


@pytest.mark.parametrize(
    ("other", "names"),
    [
        (SECOND, ["cuda:0", "cuda:1"]),
        (ELSEWHERE, ["box cuda:0", "crate cuda:0"]),
        # One card of the host after another, each by CUDA_VISIBLE_DEVICES.
        (replace(SECOND, device="cuda:0"), ["GPU-1", "GPU-82a1f00d"]),
    ],
)
def test_cards_have_the_shortest_names_that_tell_them_apart(
    tmp_path: Path, other: Machine, names: list[str]
) -> None:
    with Store.open(tmp_path / "r.db") as store:
        found = store.measurements([shared(store, other)])
    assert list(card_names(found).values()) == names


def test_runs_of_unequal_software_end_with_the_tables_of_each(tmp_path: Path) -> None:
    """As --mixed measures them: on cards of one model."""
    with Store.open(tmp_path / "r.db") as store:
        runs = start(store, environment=OLDER), start(store)
        for run in runs:
            fill(store, run, attn(SHORT, "sdpa", "bf16"), run * 1e-5, None)
        text = report_text(read_run(store, *runs), View())
    first, second = text.split("\n\nrun 2: attn on NVIDIA H200")
    assert first.startswith("run 1: attn on NVIDIA H200")
    assert ("10.0" in first, "20.0" in second) == (True, True)


@pytest.mark.parametrize(
    ("head_card", "said"),
    [
        (
            SECOND,
            "source and software are the same on both sides "
            "2 of 4 cases ran on another card than in the base",
        ),
        (None, "source, software and machine are the same on both sides"),
    ],
)
def test_a_diff_says_which_cases_ran_on_another_card(
    tmp_path: Path, head_card: Machine | None, said: str
) -> None:
    with Store.open(tmp_path / "r.db") as store:
        base, head = (shared(store, card) for card in (None, head_card))
        text = diff_text(diff(store, str(base), str(head)))
    assert said in " ".join(text.split())


def test_an_export_and_the_views_name_the_card_of_each_outcome(tmp_path: Path) -> None:
    path, stream = tmp_path / "r.db", io.StringIO()
    with Store.open(path) as store:
        found = read_run(store, shared(store))
        write_csv(found.measurements, found.runs, stream, found.sentinels)
    rows = csv.DictReader(io.StringIO(stream.getvalue()))
    uuids = {(SHORT, "GPU-1"), (LONG, SECOND.gpu_uuid)}
    assert {(row["batch_spec"], row["gpu_uuid"]) for row in rows} == uuids
    for view in ("rounds", "results"):
        with closing(sqlite3.connect(path)) as connection:
            listed = set(connection.execute(f"SELECT batch, gpu_uuid FROM {view}"))
        assert listed == uuids


def test_a_merged_run_keeps_its_cards(tmp_path: Path) -> None:
    with Store.open(tmp_path / "from.db") as origin:
        shared(origin)
    with Store.open(tmp_path / "to.db") as store:
        start(store, machine=replace(H200, gpu_uuid="GPU-9"))  # so that ids differ
        merge(store, [tmp_path / "from.db"])
        series = series_of(store.measurements([2]))
    cards = {str(each.case.batch): each.first.gpu_uuid for each in series}
    assert cards == {SHORT: "GPU-1", LONG: SECOND.gpu_uuid}


def test_noise_knows_the_card_of_each_session(tmp_path: Path) -> None:
    with Store.open(tmp_path / "r.db") as store:
        for _ in range(2):
            shared(store)
        rows = store.sessions(H200.model_key)
        cards = {(each.row.card, each.rounds[0]) for each in store.rounds(rows)}
    assert [row.run for row in rows] == [2, 2, 1, 1]
    assert {card for card, _ in cards} == {H200.key, SECOND.key}


def test_what_is_forgotten_is_gone_with_its_samples(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    with Store.open(path) as store:
        run = shared(store)
        store.forget(run, [attn(LONG, name, "bf16").key for name in ("sdpa", "flash")])
        assert {str(m.case.batch) for m in store.measurements([run])} == {SHORT}
        assert set(store.cards(run).values()) == {H200.key}
    with closing(sqlite3.connect(path)) as connection:
        assert list(connection.execute("SELECT count(*) FROM sample")) == [(4,)]
