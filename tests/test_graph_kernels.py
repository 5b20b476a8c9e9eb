"""The names of a graph's kernels, as far as they can be known without a GPU."""

import sys

import pytest

from attnbench.timing.graph_kernels import _demangled, kernel_names


def test_a_graph_has_no_names_where_the_drivers_bindings_are_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    assert kernel_names(0, calls=1, own=1) == ()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"_Z6reduceIfEvPT_i", "void reduce<float>(float*, int)"),
        (b"triton_decode_kernel_0d1d2", "triton_decode_kernel_0d1d2"),
    ],
)
def test_a_cpp_name_is_shown_as_its_source_spells_it(name: bytes, shown: str) -> None:
    assert _demangled(name) == shown
