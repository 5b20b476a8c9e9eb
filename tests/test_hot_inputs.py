"""`cache-write --inputs`: hot ones are read again by each call, cold ones are each set's own."""

from pathlib import Path

import pytest
import torch

from attnbench.families import cost
from attnbench.kernels.cache_write_base.keys_values import KeyValueWrite
from attnbench.kernels.cache_write_base.latents import LatentWrite
from attnbench.kernels.cache_write_base.prepared import inputs_reached, write_bytes
from attnbench.kernels.check import check
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine
from attnbench.running.memory import working_sets
from attnbench.specs.case import Case
from attnbench.studies.cases import cells_of
from tests.conftest import Attnbench, small_case
from tests.held import held_bytes
from tests.test_cache_write import CPU, LATENTS, prepared, stored, write
from tests.test_study_file import study

SETS = 3
WRITES = [
    write(inputs="hot"),
    write(inputs="hot", layout="HND", kv_cache_dtype="fp8"),
    write(33, LATENTS, inputs="hot"),
    write(33, LATENTS, inputs="hot", kv_cache_dtype="fp8_ds_mla"),
]
RUN = "cache-write --backend torch --num-heads 2 --head-size 16 --layout NHD --device cpu"
QUICK = ["--rounds", "1", "--repeats", "5", "--num-tokens", "4"]


def addresses(ready: object) -> list[int]:
    """Where the inputs of each set begin."""
    assert isinstance(ready, KeyValueWrite | LatentWrite)
    inputs = ready.keys if isinstance(ready, KeyValueWrite) else ready.latents
    return [each.data_ptr() for each in inputs]


@pytest.mark.parametrize("case", WRITES, ids=lambda case: case.key[:6])
def test_hot_inputs_are_one_for_all_sets_and_land_in_each_sets_own_slots(case: Case) -> None:
    ready = prepared(case, SETS)
    assert len(set(addresses(ready))) == 1
    assert len(torch.unique(ready.slots.mapping[:, :33])) == SETS * 33
    check(ready, seed=1)
    for index in range(SETS):
        ready.poison(index)
        assert torch.isnan(ready.output(index).float()).all()
        ready.calls[index]()
    assert ready.damage(0) is None
    ready.renew(seed=2)
    assert len(set(addresses(ready))) == 1
    check(ready, seed=1)


def test_cold_inputs_are_each_sets_own() -> None:
    assert len(set(addresses(prepared(write(), SETS)))) == SETS


def test_hot_inputs_move_no_memory_so_more_sets_keep_the_cache_cold() -> None:
    hot, cold = write(inputs="hot"), write()
    (moved_hot, moved_cold) = (cost(each, 0).byte_terms for each in (hot, cold))
    assert moved_cold == moved_hot | {"new": 33 * 2 * 2 * 16 * 2}
    new = prepared(cold).touched_bytes - prepared(hot).touched_bytes
    assert new == moved_cold["new"]
    machine = Machine(kind="cpu", device="cpu", name="Xeon", l2_bytes=2**17)
    assert working_sets(hot, machine) > 1.9 * working_sets(cold, machine)


@pytest.mark.parametrize("case", [*WRITES, write()], ids=lambda case: case.key[:6])
def test_memory_counts_hot_inputs_once(case: Case) -> None:
    foreseen = sum(write_bytes(case, SETS, 0).values())
    assert held_bytes(prepared(case, SETS)) == pytest.approx(foreseen, rel=0.15)


@pytest.mark.parametrize(
    ("case", "cache_bytes", "reached"),
    [
        (write(1024), 2 * 1024 * 128, "hot"),  # 128 bytes read and 128 written for each token
        (write(1024), 2 * 1024 * 128 - 1, "mixed"),
        (write(1024, kv_cache_dtype="fp8"), 1024 * (128 + 64), "hot"),
        (write(1), 0, "mixed"),
    ],
)
def test_inputs_are_hot_if_the_cache_holds_all_that_a_call_moves(
    case: Case, cache_bytes: int, reached: str
) -> None:
    assert inputs_reached(case, cache_bytes) == reached


def test_the_row_says_what_was_reached() -> None:
    assert prepared(write(4, inputs="hot")).resolved["inputs"] == "hot"
    assert "inputs" not in prepared(write(4)).resolved


@pytest.mark.parametrize(
    ("options", "inputs"), [([], [("hot")]), (["--inputs", "cold", "hot"], [None, "hot"])]
)
def test_the_command_takes_hot_inputs_unless_asked(
    attnbench: Attnbench, tmp_path: Path, options: list[str], inputs: list[str | None]
) -> None:
    done = attnbench(*RUN.split(), *QUICK, *options)
    assert done.returncode == 0, done.stderr
    assert [case.get("inputs") for case in stored(tmp_path)] == inputs


def test_a_study_takes_hot_inputs_unless_asked() -> None:
    head = "family: cache-write\nquestion: Which is faster?\nanswer: {winner: {}}\nsweep:\n"
    sweeps = ["- {backend: torch, q_len: 8}", "- {backend: torch, q_len: 8, inputs: cold}"]
    cells = [cells_of(study(head + sweep), "cpu").cases for sweep in sweeps]
    assert [case.inputs for cases in cells for case in cases] == ["hot", "cold"]


def test_a_case_without_them_keeps_its_key_and_its_meaning() -> None:
    assert "inputs" not in write().canonical()
    assert Case.from_canonical(write().canonical()).inputs == "cold"
    assert write(inputs="hot").workload_key != write().workload_key


def test_attention_has_inputs_of_its_own() -> None:
    reason = find("attn", "naive").refusal(small_case(inputs="hot"), CPU)
    assert reason == "has inputs of its own for each working set, so --inputs does not apply"
