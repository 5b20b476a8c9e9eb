"""Rows beside vLLM's server: the notebook says what the files that it names hold."""

import json
import lzma
import re
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from attnbench.analysis.series import Series, series_of, sm_clock
from attnbench.db.store import Store
from attnbench.timing.activity import trimmed

DOCS = Path(__file__).parent.parent / "docs"
BACKENDS = {
    "FLASH_ATTN": "flash",
    "FLASHINFER": "flashinfer",
    "TRITON_ATTN": "triton",
    "FLASH_ATTN_MLA": "flashattn_mla",
    "FLASHMLA": "flashmla",
    "TRITON_MLA": "triton_mla",
}
NOTEBOOK = (DOCS / "lab" / "served.md").read_text()
NEWER = {"flashattn_mla", "flashmla"}  # measured again with W_UK's product in the layer
# Of the table of FlashInfer's kernels: backend and what it was asked to decode by.
KERNELS = (("flash", None), ("flashinfer", "served"), ("flashinfer", "native"))
KINDS = ("row", "norms", "activation", "rope", "W_UK", "all")  # of kernels before a call
Key = tuple[str, str]  # vLLM's name of the backend, batch
Rows = dict[tuple[Key, str], Series]  # by what stood between the calls


def unpacked(name: str) -> bytes:
    return lzma.decompress((DOCS / "results" / name).read_bytes())


def recorded(name: str) -> dict[Key, Any]:
    """What was recorded in those servers."""
    short = {"1024": "1k", "4096": "4k", "1q1": "q1"}
    return {
        (backend, re.sub("1024|4096|^1q1", lambda found: short[found[0]], batch)): decoded
        for backend, found in json.loads(unpacked("vllm_servers.json.xz"))[name].items()
        for batch, decoded in found["batches"].items()
    }


@pytest.fixture(scope="module")
def earlier() -> dict[Key, Any]:
    """Servers of eight layers, beside rows whose layer had no product of W_UK."""
    return recorded("8 layers")


@pytest.fixture(scope="module")
def server(earlier: dict[Key, Any]) -> dict[Key, Any]:
    """Those of the table: the newest of each backend."""
    return earlier | recorded("8 layers, beside layer method 3")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Our rows of the same cards, by what stood between the calls."""
    path = tmp_path_factory.mktemp("rows") / "rows.db"
    path.write_bytes(unpacked("behind_a_layer.db.xz"))
    names = {ours: vllms for vllms, ours in BACKENDS.items()}
    with Store.open(path) as store:
        found = series_of(store.measurements((5, 6, 8)))
    return {
        ((names[each.case.backend], str(each.case.batch)), _between(each)): each for each in found
    }


def _between(series: Series) -> str:
    """The newest method's rows behind a layer are "layer", MLA's earlier ones are "layer 2"."""
    found = str(series.first.method.get("between", "nothing"))
    is_old = series.case.backend in NEWER and series.first.method.get("layer_version") == 2
    return f"{found} 2" if is_old else found


def us(seconds: float) -> str:
    return f"{seconds * 1e6:.1f}" if seconds < 1e-4 else f"{seconds * 1e6:.0f}"


def test_the_kernels_are_the_servers_in_all_cases(server: dict[Key, Any], rows: Rows) -> None:
    ours = {key: {trimmed(name) for name in _kernels(rows[key, "layer"])} for key in server}
    assert len(ours) == 36
    assert ours == {key: set(each["kernels"]) for key, each in server.items()}


def _kernels(series: Series) -> tuple[str, ...]:
    return tuple(series.first.outcome.kernels or ())


def test_the_table_is_of_the_stored_rows_and_servers(server: dict[Key, Any], rows: Rows) -> None:
    shown, backend = {}, ""
    for name, batch, *cells in _cells_below("| server, GHz | ours, GHz |"):
        backend = name.split()[0] if name else backend
        shown[backend, batch] = cells
    assert shown == {key: _cells(key, each, rows) for key, each in server.items()}


def _cells(key: Key, each: dict[str, Any], rows: Rows) -> list[str]:
    taken = median(each["spans_ns"]) * 1e-9
    bare, behind = rows[key, "nothing"], rows[key, "layer"]
    assert bare.time is not None
    assert behind.time is not None
    clock = median(hertz for found in behind.rounds if (hertz := sm_clock(found)) is not None)
    return [
        *map(us, (taken, bare.time, behind.time)),
        f"{100 * (behind.time / taken - 1):+.1f} %",
        f"{median(each['sm_clocks_hz']) / 1e9:.2f}",
        f"{clock / 1e9:.2f}",
    ]


def test_the_table_of_both_layer_methods_is_of_the_stored_rows_and_servers(
    earlier: dict[Key, Any], server: dict[Key, Any], rows: Rows
) -> None:
    shown, backend = {}, ""
    for name, batch, *cells in _cells_below("| with it, server | with it, ours | with it, off |"):
        backend = name or backend
        shown[backend, batch] = cells
    assert len(shown) == 12
    for key, cells in shown.items():
        before, after = (
            (median(servers[key]["spans_ns"]) * 1e-9, rows[key, kind].time or 0)
            for servers, kind in ((earlier, "layer 2"), (server, "layer"))
        )
        assert cells == [*_beside(*before), *_beside(*after)]


def _beside(server: float, ours: float) -> list[str]:
    return [us(server), us(ours), f"{100 * (ours / server - 1):+.1f} %"]


@pytest.mark.parametrize("mla", [False, True])
def test_behind_a_layer_backends_stand_in_the_servers_order(
    server: dict[Key, Any], rows: Rows, mla: bool
) -> None:
    for batch in {batch for _, batch in server}:
        keys = [key for key in server if key[1] == batch and ("MLA" in key[0]) == mla]
        ours = sorted(keys, key=lambda key: rows[key, "layer"].time or 0)
        assert ours == sorted(keys, key=lambda key: median(server[key]["spans_ns"]))


def test_the_table_of_flashinfers_decode_kernels_is_of_the_stored_rows(tmp_path: Path) -> None:
    path = tmp_path / "served.db"
    path.write_bytes(unpacked("served.db.xz"))
    with Store.open(path) as store:
        (run,) = (each.number for each in store.runs() if each.label == "native")
        found = series_of(store.measurements((run,)))
    times = {
        (str(each.case.batch), each.case.backend, each.case.knob("decode_kernel")): each.time
        for each in found
    }
    shown = {
        (batch, *kernel): float(cell)
        for batch, *cells in _cells_below("FLASHINFER, native (fa2) |")
        for kernel, cell in zip(KERNELS, cells, strict=True)
    }
    assert shown == {key: float(us(time or 0)) for key, time in times.items()}


def _cells_below(header: str) -> list[list[str]]:
    """The cells of the notebook's table whose heads end so."""
    (body,) = re.findall(re.escape(header) + r"\n.*\n((?:\|.*\n)+)", NOTEBOOK)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines()]


@pytest.fixture(scope="module")
def parts() -> Any:
    """What `server_parts.py` and `layer_kernels.py` measured."""
    return json.loads((DOCS / "results" / "server_parts.json").read_text())


def test_the_table_of_a_layers_kernels_is_of_the_stored_times(parts: Any) -> None:
    shown, backend = {}, ""
    for name, batch, *cells in _cells_below("| + all | server |"):
        backend = name or backend
        shown[BACKENDS[backend], batch] = cells[:-1]
    stored = {(each["backend"], each["batch"]): each for each in parts["kernels"]}
    assert len(shown) == 6
    for key, cells in shown.items():
        assert cells == [f"{stored[key][kind]['us']:.2f}" for kind in KINDS]


def test_the_table_of_query_forms_is_of_the_stored_times() -> None:
    stored = json.loads((DOCS / "results" / "query_forms.json").read_text())
    expected = {
        (each["batch"], str(each["heads"]), each["backend"]): [
            us(1e-6 * each[form]) for form in ("row", "as in a server")
        ]
        for each in stored
    }
    shown = {}
    for batch, heads, *cells in _cells_below("| FLASH_ATTN_MLA, row | as in a server |"):
        shown[batch, heads, "flashmla"] = cells[:2]
        shown[batch, heads, "flashattn_mla"] = cells[2:]
    assert shown == expected


def test_the_table_of_recordings_is_of_the_stored_times(parts: Any) -> None:
    never = {each["what"]: each for each in parts["recording"]}
    expected = [
        [never["steps"]["us"], never["steps while recorded"]["us"]],
        *(
            [each["server, steps"]["us"], each["server, traced"]["marks, same replay"]]
            for each in parts["servers"]["TRITON_MLA"]
        ),
    ]
    shown = [cells[2:4] for cells in _cells_below("| by CUPTI | after it |")]
    assert shown == [[f"{each:.0f}" for each in pair] for pair in expected]


def test_only_the_first_recorded_batch_of_a_server_had_no_pauses(earlier: dict[Key, Any]) -> None:
    """Two graphs for our stamps were made before each recording."""
    pauses = {key: pause(each["last_replay"]) for key, each in earlier.items()}
    assert all(abs(pauses[backend, "q1kv1k"]) < 0.1e-6 for backend in BACKENDS)
    assert all(0.4e-6 < each < 0.5e-6 for (_, batch), each in pauses.items() if batch != "q1kv1k")


def pause(replay: list[tuple[int, int, str]]) -> float:
    """Seconds between the MLP's activation and what follows, the median over the layers."""
    return 1e-9 * median(
        start - (before + duration)
        for (before, duration, name), (start, _, _) in pairwise(replay)
        if "act_and_mul" in name
    )
