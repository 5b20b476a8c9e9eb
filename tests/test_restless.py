"""Where a machine's own rates moved a lot, a diff decides nothing."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.provenance.machine import Machine
from attnbench.timing.sentinels import Sentinels
from tests.stored_results import CPU, H200, ON_CPU, ON_GPU, attn, store_run, timed


def diffed(
    tmp_path: Path, rates: tuple[float, ...], machine: Machine = CPU, turns: str | None = None
) -> tuple[str, int]:
    """The diff of runs of 16 and 8 ms, and its exit status: the main one is the quicker.

    rates are the copy's, of the start and the end of both runs.
    """
    path = str(tmp_path / "a.db")
    with Store.open(path) as store:
        for label, seconds, at in (("main", 8e-3, 0), ("pr", 16e-3, 2)):
            run = store_run(
                store,
                {attn("q512"): timed(attn("q512"), seconds, 1.001 * seconds, 0.999 * seconds)},
                label=label,
                machine=machine,
                method=ON_CPU if machine is CPU else ON_GPU,
                interleaved=turns,
            )
            for moment, rate in zip(("start", "end"), rates[at:], strict=False):
                facts = Sentinels(rate, 2e12, 1e15).as_facts()
                store.add_sentinels(run, moment, facts)
    found = CliRunner().invoke(cli, ["diff", "--base", "main", "--head", "pr", "--db", path])
    return " ".join(found.stdout.split()), found.exit_code


BUSY = (9e12, 9e12, 9e12, 1e12)


@pytest.mark.parametrize("rates", [BUSY, (1e12, 1e12, 9e12, 9e12), (9e12, 1e12, 9e12, 9e12)])
@pytest.mark.parametrize("machine", [CPU, H200], ids=["CPU", "GPU"])
def test_a_machine_whose_rates_moved_a_lot_gives_no_verdict(
    tmp_path: Path, rates: tuple[float, ...], machine: Machine
) -> None:
    said, status = diffed(tmp_path, rates, machine)
    assert "1 unclear; a change within" in said
    assert (
        "1 unclear case lies beyond the margin, but the machine's own copy rate differs by 9.00 "
        "times within these runs; measure both sides again while nothing else runs there"
    ) in said
    assert status == 0


@pytest.mark.parametrize("rates", [(), (9e12,), (9e12, 9e12, 9e12, 2.5e12)])
def test_rates_that_agree_or_are_unknown_leave_the_verdict(
    tmp_path: Path, rates: tuple[float, ...]
) -> None:
    said, status = diffed(tmp_path, rates)
    assert "1 slower; a change within" in said
    assert "own copy rate" not in said
    assert status == 1


def test_sides_that_took_turns_were_disturbed_alike(tmp_path: Path) -> None:
    said, status = diffed(tmp_path, BUSY, turns="a")
    assert "1 slower; a change within" in said
    assert status == 1
