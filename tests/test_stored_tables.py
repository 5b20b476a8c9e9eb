"""The notebook's tables of backends hold what the stored runs measured."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from attnbench.db.store import Store
from attnbench.records import Measurement
from attnbench.units import three_digits
from tests.test_stored_verdicts import unpacked

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "lab" / "kernels.md").read_text()
NAMES = {"flash (FA3)": "flash", "cuDNN": "flashinfer-cudnn"}
LLAMA, RANK = "Llama-3-8B heads (32 query", "Llama-3-70B on one of eight ranks (8"
FP8 = "Llama-3-8B heads over an fp8 cache, in"
FP8_RANK = "Llama-3-70B on one of eight ranks over"
MLA, MLA_FP8 = "With a bf16 cache, in", "With an fp8 cache, in"
SPARSE = "Each token selects 2048 keys at random"
EARLIER = 2  # a run of mla_heads that run 6 has replaced


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> list[Measurement]:
    """All outcomes of the tables' runs."""
    path = unpacked(tmp_path_factory.mktemp("tables"), "h200_served_tables.db")
    with Store.open(path) as store:
        return store.measurements([run.number for run in store.runs() if run.number != EARLIER])


def cells(after: str) -> Iterator[tuple[str, str, list[str]]]:
    """Batch, backend and the other cells' texts, of the first table behind those words."""
    _, _, rest = PAGE.partition(after)
    lines = iter(rest[rest.index("| batch") :].splitlines())
    heads = [cell.strip() for cell in next(lines).strip("|").split("|")]
    next(lines)
    for line in iter(lambda: next(lines), ""):
        texts = [cell.strip() for cell in line.strip("|").split("|")]
        heading = 2 if heads[1] == "heads" else 1
        for name, text in zip(heads[heading:], texts[heading:], strict=True):
            yield texts[0], NAMES.get(name, name), [*texts[1:heading], text]


@pytest.mark.parametrize(
    ("after", "dtype", "heads", "count"),
    [
        (LLAMA, "auto", 32, 56),
        (RANK, "auto", 8, 48),
        (FP8, "fp8", 32, 32),
        (FP8_RANK, "fp8", 8, 32),
        (MLA, "auto", 0, 168),
        (MLA_FP8, "fp8", 0, 48),
    ],
)
def test_a_table_of_backends_is_of_the_stored_runs(
    stored: list[Measurement], after: str, dtype: str, heads: int, count: int
) -> None:
    times = {
        (str(each.case.batch), each.case.backend, each.case.shape.num_q_heads): each.median
        for each in stored
        if each.case.kv_cache_dtype == dtype and each.case.index_topk is None
    }
    shown = list(cells(after))
    assert len(shown) == count
    for batch, backend, (*its_heads, text) in shown:
        time = times[batch, backend, int(*its_heads) if its_heads else heads]
        assert text == ("failed" if time is None else three_digits(1e6 * time)), (batch, backend)


def test_the_table_of_sparse_mla_is_of_the_stored_run(stored: list[Measurement]) -> None:
    times = {
        (str(each.case.batch), _with_cache(each), str(each.case.shape.num_q_heads)): each.median
        for each in stored
        if each.case.index_topk is not None
    }
    shown = {(batch, name, heads): text for batch, name, (heads, text) in cells(SPARSE)}
    assert shown == {key: three_digits(1e6 * (time or 0)) for key, time in times.items()}
    assert len(shown) == 72


def _with_cache(each: Measurement) -> str:
    return f"{each.case.backend} {each.case.kv_cache_dtype}".removesuffix(" auto")


def test_triton_mla_fails_where_its_offsets_pass_32_bits(stored: list[Measurement]) -> None:
    failed = [each for each in stored if each.median is None]
    assert {(each.case.backend, str(each.case.batch)) for each in failed} == {
        ("triton_mla", "128q1kv4k")
    }
    for each in stored:
        if each.case.backend == "triton_mla" and each.case.batch.max_q_len == 1:
            splits = int(each.outcome.resolved.get("num_kv_splits", 264))
            last = len(each.case.batch) * each.case.shape.num_q_heads * splits * 513
            assert (each.median is None) == (last > 2**31)
