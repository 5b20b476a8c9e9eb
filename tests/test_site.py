"""`attnbench site`: pages of a small database, brought up to date run by run."""

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from click.testing import CliRunner, Result

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.provenance.environment import Component, Environment
from attnbench.provenance.source import Source
from attnbench.records import Status
from tests.stored_pages import CASE, FAST, OTHER, SLOW, store_commit, store_commits
from tests.stored_results import H200, ON_GPU, SOURCE, attn, failed, store_run, timed

ATOM = {"a": "http://www.w3.org/2005/Atom"}


def release(path: Path, version: str, time: float) -> None:
    """A run of an installed vLLM."""
    packages = {"torch": Component("2.11.0"), "vllm": Component(version)}
    rounds = timed(CASE, time, 1.001 * time, 0.999 * time)
    with Store.open(path) as store:
        store_run(
            store,
            {CASE: rounds},
            machine=H200,
            method=ON_GPU,
            source=Source("none"),
            environment=Environment("3.11.2", components=packages),
        )


def build(path: Path, *options: str) -> Result:
    return CliRunner().invoke(
        cli, ["site", str(path.parent / "public"), "--db", str(path), *options]
    )


def page_of(folder: Path, start: str = CASE.key) -> str:
    return (folder / "case" / f"{start[:12]}-nvidia-h200.html").read_text()


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / ".git").write_text("gitdir: as git worktree add leaves it")
    store_commits(tmp_path / "s.db")
    found = build(tmp_path / "s.db")
    assert found.exit_code == 0, found.output
    assert "2 cases, 2 computed" in found.output
    return tmp_path / "public"


def test_a_site_has_a_page_per_case_and_gpu(filled: Path) -> None:
    listed = sorted(str(each.relative_to(filled)) for each in filled.rglob("*.html"))
    cases = sorted(
        f"case/{case.key[:12]}-{gpu}.html"
        for case in (CASE, OTHER)
        for gpu in ("nvidia-h100-80gb-hbm3", "nvidia-h200")
    )
    lists = ["list/nvidia-h100-80gb-hbm3-attn.html", "list/nvidia-h200-attn.html"]
    assert listed == [*cases, "gpus.html", "index.html", *lists, "regressions.html"]


def test_a_step_is_in_its_page_the_regressions_and_the_feed(filled: Path) -> None:
    page = " ".join(page_of(filled).split())
    assert "slower by +20.0 %" in page
    assert "at ccccccccc" in page
    assert "git bisect start ccccccccc bbbbbbbbb" in page
    assert "slower by" not in page_of(filled, OTHER.key)
    assert "1 step slower, 0 faster" in (filled / "regressions.html").read_text()
    entries = Xml.parse(filled / "feed.xml").getroot().findall("a:entry", ATOM)
    (title,) = [entry.findtext("a:title", namespaces=ATOM) for entry in entries]
    assert title == "attn sdpa 8q1kv1k on NVIDIA H200: +20.0 % at ccccccccc"


def test_every_heading_explains_itself(filled: Path) -> None:
    tips = [
        tip
        for page in filled.rglob("*.html")
        for tip in re.findall(r'<button type="button" title="([^"]*)"', page.read_text())
    ]
    assert len(tips) > 30
    assert all(tips)


def test_cases_of_one_backend_and_batch_are_told_apart(tmp_path: Path) -> None:
    twin = replace(CASE, kv_cache_dtype="fp8")
    for letter, time in zip("abcd", (FAST, FAST, SLOW, SLOW), strict=True):
        results = {case: timed(case, time, 1.001 * time, 0.999 * time) for case in (CASE, twin)}
        source = replace(SOURCE, commit=letter * 40)
        with Store.open(tmp_path / "s.db") as store:
            store_run(store, results, machine=H200, method=ON_GPU, source=source)
    assert build(tmp_path / "s.db").exit_code == 0
    public = tmp_path / "public"
    entries = Xml.parse(public / "feed.xml").getroot().findall("a:entry", ATOM)
    titles = {entry.findtext("a:title", namespaces=ATOM) for entry in entries}
    shown = (public / "regressions.js").read_text()
    for dtype in ("auto", "fp8"):
        name = f"attn sdpa 8q1kv1k, kv_cache_dtype {dtype}"
        assert f"{name} on NVIDIA H200: +20.0 % at ccccccccc" in titles
        assert f'"{name}"' in shown
    assert "last step: sdpa 8q1kv1k, kv_cache_dtype" in (public / "index.html").read_text()


def test_pages_leave_out_what_nobody_set(filled: Path) -> None:
    about = "dtype bf16, num_q_heads 32, num_kv_heads 8, head_dim 128"
    for page in (page_of(filled), (filled / "list" / "nvidia-h200-attn.html").read_text()):
        assert about in page
        assert "sinks" not in page


def test_the_first_page_names_the_last_step(filled: Path) -> None:
    index = (filled / "index.html").read_text()
    assert re.search(r"last step: sdpa \S+ \+20\.0 % at ccccccccc", index)
    assert "1 case got slower" in index


def test_gpus_stand_beside_each_other_with_the_foreseen_ratio(filled: Path) -> None:
    page = (filled / "gpus.html").read_text()
    assert "geometric mean of 2 cases" in page
    data = (filled / "gpus.js").read_text().removeprefix("globalThis.attnbenchData = ")
    (choices,) = json.loads(data.rstrip(";\n"))["figures"].values()
    measured = choices[0]["series"][0]
    assert sorted(measured["x"]) == [pytest.approx(1 / 1.1, rel=1e-3), 1]


def test_a_build_without_a_new_run_computes_and_writes_nothing(filled: Path) -> None:
    found = build(filled.parent / "s.db")
    assert "2 cases, 0 computed, 0 files written" in found.output


def test_a_new_run_rewrites_only_its_cases_and_the_lists(filled: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in filled.rglob("*") if path.is_file()}
    with Store.open(filled.parent / "s.db") as store:
        source = replace(SOURCE, commit="e" * 40)
        rounds = {CASE: timed(CASE, SLOW), attn("q9"): failed(Status.REFUSED, "not here")}
        store_run(store, rounds, machine=H200, method=ON_GPU, source=source)
    assert "2 cases, 1 computed" in build(filled.parent / "s.db").output
    changed = {str(p.relative_to(filled)) for p, at in before.items() if p.stat().st_mtime_ns != at}
    assert f"case/{CASE.key[:12]}-nvidia-h200.js" in changed
    assert not any(OTHER.key[:12] in name for name in changed)


def test_a_site_brought_up_to_date_equals_a_new_one(filled: Path) -> None:
    path = filled.parent / "s.db"
    store_commit(path, "e", FAST)
    build(path)
    anew = CliRunner().invoke(cli, ["site", str(filled.parent / "anew"), "--db", str(path)])
    assert anew.exit_code == 0, anew.output
    ours, theirs = (
        {
            str(p.relative_to(f)): p.read_text()
            for p in f.rglob("*")
            if p.is_file() and p.name != ".git"
        }
        for f in (filled, filled.parent / "anew")
    )
    assert ours == theirs


def test_pages_of_a_deleted_run_go(filled: Path) -> None:
    path = filled.parent / "s.db"
    assert list(filled.rglob("*h100*"))
    with Store.open(path) as store:
        store.delete(5)
    build(path)
    assert not list(filled.rglob("*h100*"))


def test_releases_have_names_and_the_order_of_their_versions(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    for version, time in (("0.33.0", SLOW), ("0.25.1", FAST), ("0.25.1", FAST), ("0.33.0", SLOW)):
        release(path, version, time)
    found = build(path)
    assert found.exit_code == 0, found.output
    page = " ".join(page_of(tmp_path / "public").split())
    assert "at vllm 0.33.0; before it vllm 0.25.1" in page
    assert "differs: vllm 0.25.1" in page
    assert "git bisect" not in page


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    store_commit(tmp_path / "s.db", "a", FAST)
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "thesis.tex").write_text("x")
    found = build(tmp_path / "s.db")
    assert found.exit_code == 2
    assert "name a new or empty folder" in found.stderr
    assert [each.name for each in (tmp_path / "public").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("state", ["{", "[]", "{}", "\x00"])
def test_a_damaged_state_is_named_and_no_page_is_touched(filled: Path, state: str) -> None:
    before = (filled / "index.html").read_bytes()
    (filled / "state.json").write_text(state)
    done = build(filled.parent / "s.db")
    assert done.exit_code == 2
    assert "state.json is not what a site's build writes" in " ".join(done.stderr.split())
    assert (filled / "index.html").read_bytes() == before


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    store_commit(tmp_path / "s.db", "a", FAST)
    (tmp_path / "public").write_text("x")
    args = ["site", str(tmp_path / "public" / "deeper"), "--db", str(tmp_path / "s.db")]
    found = CliRunner().invoke(cli, args)
    assert found.exit_code == 2
    assert "public cannot be written" in " ".join(found.stderr.split())


def test_a_page_that_cannot_be_written_is_one_sentence_and_the_next_build_writes_it(
    filled: Path,
) -> None:
    db = filled.parent / "s.db"
    page = filled / "index.html"
    page.unlink()
    page.mkdir()
    store_commit(db, "z", SLOW)
    found = build(db)
    assert found.exit_code == 1
    assert "index.html could not be written: Is a directory" in found.stderr
    assert list(filled.rglob(".*.part")) == []
    page.rmdir()
    assert build(db).exit_code == 0
    assert page.is_file()
