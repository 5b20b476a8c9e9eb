"""A team's database: a real PostgreSQL server, many writers, and connections that break."""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

import attnbench
from attnbench.cli import cli
from attnbench.db.engine import make_engine
from attnbench.db.migrations import REVISIONS, Revisions, run_revisions
from attnbench.db.store import Store
from attnbench.db.target import parse_target
from attnbench.db.transfer import export, merge
from attnbench.db.views import VIEWS
from attnbench.errors import AttnbenchError, UsageError
from attnbench.records import RunStatus
from attnbench.running import spool
from attnbench.specs.case import Case
from attnbench.timing.finished import Finished
from tests.fake_worker import FakeDevice, measuring
from tests.faults.test_lost_results import ALL, PLAN, measure_all
from tests.postgres_server import Server, running_server
from tests.stored_results import (
    H100,
    H200,
    OK,
    ON_GPU,
    SOURCE,
    attn,
    mla,
    start,
    store_run,
    timed,
)
from tests.test_migrations import FIRST
from tests.test_stored_verdicts import unpacked
from tests.test_transfer import content
from tests.test_views import QUERIES

pytest.importorskip("psycopg", reason="psycopg is not installed")
assert_frame_equal = pytest.importorskip("pandas.testing").assert_frame_equal
pytestmark = pytest.mark.usefixtures("own_lock")

WRITERS = 8
NEW_NAME = count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def team(server: Server) -> str:
    """The URL of an empty database."""
    return server.database(f"team{next(NEW_NAME)}")


def name_of(url: str) -> str:
    return str(parse_target(url).database)


def unnamed(said: str) -> list[str]:
    """What a command said, without commands that name the database."""
    return [line for line in said.splitlines() if "--db" not in line]


def together(work: Callable[[int], object]) -> None:
    """Do the work of all writers at once; the first error is raised."""
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(work, range(WRITERS)))


def cases(number: int) -> list[Case]:
    return [attn(f"{at + 1}q1kv1k") for at in range(number)]


def filled(path: Path) -> Path:
    """Two runs of two backends, and one of MLA on another GPU."""
    with Store.open(path) as store:
        results = {
            case: timed(case, *(seconds * (1 + 0.001 * at) for at in range(3)))
            for case, seconds in ((attn("8q1kv1k"), 3e-5), (attn("8q1kv1k", "flash"), 2e-5))
        }
        store_run(store, results, label="main", machine=H200, method=ON_GPU)
        slower = {
            case: [replace(each, samples=tuple(1.1 * x for x in each.samples)) for each in listed]
            for case, listed in results.items()
        }
        source = replace(SOURCE, commit="b" * 40)
        store_run(store, slower, label="pr", machine=H200, method=ON_GPU, source=source)
        store_run(store, {mla("2q1kv1k"): timed(mla("2q1kv1k"), 1e-4)}, machine=H100)
    return path


def test_eight_commands_begin_with_an_empty_database_at_once(team: str) -> None:
    def write(writer: int) -> None:
        with Store.open(team) as store:
            run = start(store, label=f"writer {writer}")
            for at, case in enumerate(cases(20)):
                store.add(run, case, ON_GPU, 0, at, OK)
            store.finish_run(run, RunStatus.FINISHED)

    together(write)
    with Store.open(team, create=False) as store:
        runs = store.runs()
        assert {run.label for run in runs} == {f"writer {at}" for at in range(WRITERS)}
        for run in runs:
            found = store.measurements([run.number])
            assert [each.case for each in found] == cases(20)
            assert all(store.samples(each.id).tolist() == list(OK.samples) for each in found)


@pytest.mark.parametrize(
    "command",
    [
        "report --run 1 2 3",
        "report --run 1 2 3 --format csv",
        "diff --base main --head pr",
        "diff --base main --head pr --format json",
        "runs",
        "history --where backend=flash",
    ],
)
def test_commands_say_what_they_say_of_a_file(command: str, team: str, tmp_path: Path) -> None:
    path = filled(tmp_path / "here.db")
    with Store.open(team) as store:
        merge(store, [path])
    here, there = (
        CliRunner().invoke(cli, [*command.split(), "--db", str(db)]) for db in (path, team)
    )
    assert there.exit_code == here.exit_code < 2
    assert unnamed(there.stdout) == unnamed(here.stdout) != []


def test_views_and_frames_are_those_of_a_file(team: str, tmp_path: Path) -> None:
    path = unpacked(tmp_path, "h200_ragged.db")  # a run that lacks rounds, and refused cases
    with Store.open(path, note=lambda _: None) as here, Store.open(team) as store:
        merge(here, [filled(tmp_path / "more.db")])
        merge(store, [path])
        for query in QUERIES:
            with store.reading() as session:
                session.execute(text(query)).all()
    for view in VIEWS:
        here, there = attnbench.load(path, view), attnbench.load(team, view)
        order = [each for each in ("started", "case_key", "round") if each in here]
        frames = (each.sort_values(order, ignore_index=True) for each in (here, there))
        assert_frame_equal(*frames, rtol=1e-12)


def test_runs_go_to_a_file_and_back_whole(team: str, tmp_path: Path) -> None:
    path, back = filled(tmp_path / "here.db"), tmp_path / "back.db"
    with Store.open(team) as store, Store.open(path) as origin:
        (there,) = merge(store, [path])
        assert (there.runs, there.measurements) == (3, 13)
        assert content(store) == content(origin)
        export(store, [1, 2, 3], back)
        (again,) = merge(store, [back])
        assert (again.runs, again.measurements, again.samples) == (0, 0, 0)
    with Store.open(back) as returned, Store.open(path) as origin:
        assert content(returned) == content(origin)


def test_eight_merges_at_once_add_each_outcome_once(team: str, tmp_path: Path) -> None:
    """Each file has the same cases in another order, beside a run that all of them have."""
    shared = filled(tmp_path / "shared.db")
    files = []
    for writer in range(WRITERS):
        path = tmp_path / f"{writer}.db"
        with Store.open(path) as store:
            merge(store, [shared])
            run = start(store, label=f"writer {writer}")
            listed = cases(40)
            for at, case in enumerate(listed if writer % 2 else reversed(listed)):
                store.add(run, case, ON_GPU, 0, at, OK)
        files.append(path)

    def carry(writer: int) -> None:
        with Store.open(team) as store:
            merge(store, [files[writer]])

    together(carry)
    with Store.open(team) as store:
        assert len(store.runs()) == 3 + WRITERS
        assert len(store.measurements([run.number for run in store.runs()], pool=True)) == (
            13 + WRITERS * 40
        )


def test_the_first_schema_is_migrated_with_its_rows(team: str) -> None:
    oldest = Revisions(REVISIONS.folder, "0001")
    engine = make_engine(parse_target(team))
    with engine.begin() as connection:
        run_revisions(connection, oldest)
        for statement in inserts(FIRST):
            connection.exec_driver_sql(statement)
    engine.dispose()
    notes: list[str] = []

    def open_it(_: int) -> None:
        Store.open(team, create=False, note=notes.append).close()

    together(open_it)
    assert len(notes) == 1
    assert "migrated from schema 0001" in notes[0]
    with Store.open(team, create=False) as store:
        first, second = store.measurements([1])
        assert (first.median, store.samples(first.id).tolist()) == (2e-5, list(OK.samples))
        assert second.outcome.reason == "needs SM100; this is SM90 (NVIDIA H200)"
    assert attnbench.load(team).roofline.isna().all()
    assert attnbench.load(team).us.tolist() == [20]


def inserts(script: Path) -> Iterator[str]:
    """The rows of an SQLite script as PostgreSQL writes them, tables that others refer to first."""
    found = re.findall(r'INSERT INTO "(\w+)" (VALUES\(.*\));', script.read_text())
    order = ("environment", "machine", "source", "method", "case", "run", "measurement", "sample")
    for table in order:
        for name, values in found:
            if name == table:
                yield f'INSERT INTO "{name}" ' + re.sub(r"X'(\w+)'", r"'\\x\1'", values)


def test_an_outcome_waits_for_a_server_that_is_started_again(
    server: Server, team: str, tmp_path: Path
) -> None:
    device = FakeDevice()

    def fail() -> None:
        server.stop()
        threading.Timer(1, server.start).start()

    with measuring(device, PLAN, tmp_path, db=team) as run:
        measure_all(run, fail)
    with Store.open(team) as store:
        assert len(store.measurements([1])) == len(device.jobs) == ALL
        assert store.run(1).status is RunStatus.FINISHED
    assert any("The outcome is kept" in note for note in device.notes)


def test_a_connection_that_is_cut_costs_no_outcome(
    server: Server, team: str, tmp_path: Path
) -> None:
    device, name = FakeDevice(), name_of(team)
    cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    with measuring(device, PLAN, tmp_path, db=team) as run:
        measure_all(run, lambda: server.sql(cut))
    with Store.open(team) as store:
        assert len(store.measurements([1])) == len(device.jobs) == ALL


def test_a_server_that_stays_away_leaves_a_file_that_resume_stores(
    server: Server, team: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "PATIENCE", 0.5)
    device = FakeDevice()
    with (
        pytest.raises(AttnbenchError, match="Gave up on the database; the last outcome is kept in"),
        measuring(device, PLAN, tmp_path, db=team) as run,
    ):
        measure_all(run, server.stop)
    server.start()
    (kept,) = tmp_path.glob("*.spool")
    with measuring(device, PLAN, tmp_path, db=team, resume="1") as run:
        measure_all(run)
    with Store.open(team) as store:
        assert len(store.measurements([1])) == len(device.jobs) == ALL
    assert not kept.exists()


def test_an_outcome_whose_commit_was_not_heard_of_is_stored_once(team: str) -> None:
    with Store.open(team) as store:
        run = start(store)
        finished = [Finished(attn("q8"), ON_GPU, round_, round_, OK) for round_ in range(2)]
        for _ in range(2):
            store.add_all(run, finished)
        assert len(store.measurements([run])) == 2
        with pytest.raises(AttnbenchError, match="another attnbench measures it too"):
            store.add(run, attn("q8"), ON_GPU, 0, 0, OK)
        assert len(store.measurements([run])) == 2


def test_a_server_that_is_not_there_is_one_sentence_without_the_password(tmp_path: Path) -> None:
    url = f"postgresql://team:secret@/none?host={tmp_path}"
    done = CliRunner().invoke(cli, ["report", "--db", url])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert "secret" not in line
    assert line.endswith(
        "; expected a server that answers and has this user and database, e.g. --db "
        "postgresql://user@host/attnbench"
    )
    with pytest.raises(UsageError):
        Store.open(url)


def test_a_short_name_of_the_scheme_names_the_same_server(team: str) -> None:
    with Store.open(team) as store:
        start(store)
    with Store.open(team.replace("postgresql://", "postgres://"), create=False) as store:
        assert len(store.runs()) == 1
