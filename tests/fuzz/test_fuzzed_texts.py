"""Texts of one value: specs, sweeps, lists, conditions, labels, devices, URLs."""

from collections.abc import Callable

import pytest

from attnbench.db.target import parse_target
from attnbench.errors import UsageError
from attnbench.results.where import parse_condition
from attnbench.run_label import parse_label
from attnbench.running.device_options import check_device_name
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.budget import duration
from attnbench.specs.sweep import expand_sweep, expand_values
from tests.fuzz.command import assert_sentence
from tests.fuzz.inputs import NUMBERS, ODD, SYNTAX, edited, fuzz

SPECS = ["2q2k_32q1kv1k", "8s1k", "4spec3s2k", "chunk512q2k", "q1.5k", "1000000q1kv1024m"]
SWEEPS = ["{1..64:x2}q1kv4k", "q{1,2,4}kv{1k..32k:x2}_{1..4}q1", "{1..30}q{1..30}", "q{1..9k}"]
TOKENS = [*NUMBERS, *SYNTAX, "q", "kv", "s", "spec", "k", "m", "..", ":x", "{1..9}", "_", "q1"]
READERS: dict[str, tuple[Callable[[str], object], list[str], list[str], int]] = {
    "spec": (parse_batch_spec, SPECS, TOKENS, 1200),
    "sweep": (expand_sweep, SWEEPS + SPECS, TOKENS, 1200),
    "list": (expand_values, ["1,2,4", "1..64:x2", "1..100000", "1k..32k:7"], TOKENS, 700),
    "condition": (
        parse_condition,
        ["backend=naive", "batch_size>=8", "kv_len~1k", "num_splits!=4", "label=main"],
        [*ODD, ">=", "!=", "~", "backend", "q_len"],
        1000,
    ),
    "label": (parse_label, ["main", "run:3", "latest", "12"], ODD, 300),
    "device": (check_device_name, ["auto", "cpu", "cuda:1"], ODD, 200),
    "duration": (duration, ["10ms", "0.5s", "500us"], ODD, 200),
    "database": (
        parse_target,
        ["a.db", "sqlite:///a.db", "postgresql://u:p@host:5432/db?x=y", ":memory:"],
        [*ODD, "://", "sqlite", "@", "?", "["],
        500,
    ),
}


@pytest.mark.parametrize("kind", READERS)
def test_a_text_is_read_or_refused_in_a_sentence(kind: str) -> None:
    read, texts, tokens, count = READERS[kind]

    def check(text: str) -> None:
        try:
            read(text)
        except UsageError as error:
            assert_sentence(str(error))

    fuzz(edited(texts, tokens), check, count)


def test_a_spec_that_is_read_is_written_as_one_that_reads_the_same() -> None:
    def check(text: str) -> None:
        try:
            batch = parse_batch_spec(text)
        except UsageError:
            return
        assert parse_batch_spec(str(batch)) == batch

    fuzz(edited(SPECS, TOKENS), check, 300)
