"""`attnbench diff --explain CASE`: one case whole."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.provenance.environment import Component
from attnbench.records import Status
from attnbench.reporting.explain import sparklines
from tests.markdown import unpadded
from tests.stored_results import ENVIRONMENT, attn, failed, store_run, timed

CASE, OTHER, MIXED = attn("q512"), attn("q512", "naive"), attn("1q2k_63q1kv1k")
NEWER = replace(ENVIRONMENT, components={"torch": Component("2.13.0", "70d99e998")})


@pytest.fixture
def db(tmp_path: Path) -> str:
    path = str(tmp_path / "explain.db")
    with Store.open(path) as store:
        for label, time, environment in (("base", 1e-3, ENVIRONMENT), ("head", 1.3e-3, NEWER)):
            first = timed(CASE, time, 1.001 * time, resolved={"num_splits": 4})
            guard = {"sm_clock_hz_median": 1.98e9, "temperature": 41.0}
            seen = [
                replace(each, kernels=(f"fwd_{label}",), guard=guard, labels=("bimodal",))
                for each in first
            ]
            broken = timed(OTHER, time) if label == "base" else failed(Status.CRASHED, "signal 9")
            results = {CASE: seen, OTHER: broken, MIXED: timed(MIXED, time, time)}
            store_run(store, results, label=label, environment=environment)
    return path


def explain(db: str, case: str, *options: str) -> Result:
    sides = ["--base", "base", "--head", "head", "--explain", case]
    return CliRunner().invoke(cli, ["diff", "--db", db, *sides, *options])


def test_a_case_is_shown_with_rounds_kernels_and_both_fingerprints(db: str) -> None:
    found = explain(db, "sdpa q512")
    assert found.exit_code == 0, found.stderr
    for line in (
        "unclear: +30.0 %; 95 % interval",
        "base ran num_splits 4\n",
        "base kernels: fwd_base\n",
        "head kernels: fwd_head\n",
    ):
        assert line in found.stdout
    rounds = re.findall(r"^(base|head) +(\d) +(\d) +(\S+) ", found.stdout, re.MULTILINE)
    assert rounds == [
        ("base", "1", "1", "1.00"),
        ("base", "1", "2", "1.00"),
        ("head", "2", "1", "1.30"),
        ("head", "2", "2", "1.30"),
    ]
    assert re.search(r"clock +temp", found.stdout)
    assert re.search(r"^\* +torch +2.11.0 +2.13.0 at 70d99e998$", found.stdout, re.MULTILINE)
    assert re.search(r"^ +Python +3.11.2 +3.11.2$", found.stdout, re.MULTILINE)


def test_a_histogram_is_explained_where_there_is_one(db: str, tmp_path: Path) -> None:
    assert "samples: a histogram" in explain(db, "sdpa q512").stdout
    other = str(tmp_path / "light.db")
    arguments = ["db", "export", other, "--run", "base", "head", "--no-samples", "--db", db]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    found = explain(other, "sdpa q512")
    assert found.exit_code == 0
    assert "samples: a histogram" not in found.stdout


@pytest.mark.parametrize(
    "name",
    [
        "sdpa q512",
        "q512, backend=sdpa",
        "batch=1q512 sdpa",
        CASE.key[:8],
        CASE.key.upper(),
    ],
)
def test_a_case_is_named_by_its_key_or_by_what_it_alone_has(db: str, name: str) -> None:
    assert explain(db, name).stdout.startswith(f"attn sdpa q512, key {CASE.key[:12]}\n")


def test_a_batch_may_be_spelt_in_any_order(db: str) -> None:
    for spec in ("1q2k_63q1kv1k", "63q1kv1k_1q2k"):
        assert explain(db, spec).stdout.startswith(f"attn sdpa {MIXED.batch}, key")


def test_a_case_that_failed_is_shown_with_its_reason(db: str) -> None:
    text = explain(db, "naive").stdout
    assert "\n\nnow fails\n\n" in text
    assert "head round 1: crashed: signal 9\n" in text


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("q512", "matches 2 cases"),
        ("q1k", "matches no case on both sides"),
        ("abc", "matches no case on both sides"),
        (" ", "matches no case on both sides"),
    ],
)
def test_a_name_of_several_cases_or_none_is_a_usage_error(db: str, name: str, told: str) -> None:
    found = explain(db, name)
    assert (found.exit_code, found.stdout) == (2, "")
    assert f"--explain '{name}' {told}" in found.stderr
    assert f"sdpa q512 ({CASE.key[:12]})" in found.stderr


def test_an_explanation_is_text(db: str) -> None:
    assert explain(db, "naive", "--format", "json").exit_code == 2
    assert "| side |" in unpadded(explain(db, "sdpa q512", "--format", "markdown").stdout)


def test_sparklines_share_one_range() -> None:
    low, high = np.full(10, 1e-3), np.array([1e-3] * 2 + [2e-3] * 4)
    assert sparklines([low, high]) == ["█", "▄" + " " * 18 + "█"]
    assert sparklines([np.empty(0)]) == [""]
    assert sparklines([low]) == ["█"]
