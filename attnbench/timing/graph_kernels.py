"""The names of the kernels in a captured CUDA graph, as the driver knows them.

Reading them from the graph's nodes needs no profiling and changes no timing.
"""

import ctypes
from functools import cache
from typing import Any

OLDEST_DRIVER = 12030  # that knows the names of functions: CUDA 12.3


def kernel_names(graph: int, calls: int, own: int, skipped: int = 0) -> tuple[str, ...]:
    """Names of the kernels of the first of `calls` equal calls, in alphabetical order.

    `graph` is a cudaGraph_t whose first and last `own` nodes are not of a call; the first `skipped`
    nodes of the call are left out. Copies and fills are not kernels. Empty if cuda-bindings, which
    comes with torch for CUDA from 2.11 on, is not installed, or if the driver is too old to know
    names.
    """
    if (driver := _driver()) is None:
        return ()
    of_calls = _nodes(driver, graph)[own:-own]
    names = {_name(driver, node) for node in of_calls[skipped : -(-len(of_calls) // calls)]}
    return tuple(sorted(name for name in names if name))


def nodes_per_call(graph: int, calls: int, own: int) -> int:
    """The nodes of each of `calls` equal calls; 0 where `kernel_names` knows no names."""
    driver = _driver()
    return 0 if driver is None else len(_nodes(driver, graph)[own:-own]) // calls


def _driver() -> Any:
    """The driver's bindings, None if they cannot tell names."""
    try:
        from cuda.bindings import driver
    except ImportError:
        return None
    return driver if _answer(driver.cuDriverGetVersion()) >= OLDEST_DRIVER else None


def _nodes(driver: Any, graph: int) -> Any:
    """All nodes of a graph, in the order of capture."""
    handle = driver.CUgraph(graph)
    _, count = _answer(driver.cuGraphGetNodes(handle))
    nodes, _ = _answer(driver.cuGraphGetNodes(handle, count))
    return nodes


def _name(driver: Any, node: Any) -> str | None:
    """None for a node that is not a kernel."""
    if _answer(driver.cuGraphNodeGetType(node)) != driver.CUgraphNodeType.CU_GRAPH_NODE_TYPE_KERNEL:
        return None
    params = _answer(driver.cuGraphKernelNodeGetParams(node))
    if int(params.func):
        return _demangled(_answer(driver.cuFuncGetName(params.func)))
    return _demangled(_answer(driver.cuKernelGetName(params.kern)))


def _answer(result: tuple[Any, ...]) -> Any:
    """The driver's result without its status; RuntimeError unless that is success."""
    status, *values = result
    if status != 0:
        raise RuntimeError(f"the CUDA driver cannot list a graph's kernels: {status!r}")
    return values[0] if len(values) == 1 else values


@cache
def _demangled(name: bytes) -> str:
    """A C++ name as its source spells it; any other unchanged."""
    demangle = ctypes.CDLL("libstdc++.so.6").__cxa_demangle
    demangle.restype = ctypes.c_void_p
    status = ctypes.c_int()
    text = demangle(name, None, None, ctypes.byref(status))
    if status.value != 0 or not text:
        return name.decode()
    spelt = ctypes.string_at(text).decode()
    free = ctypes.CDLL(None).free
    free.argtypes = (ctypes.c_void_p,)
    free(text)
    return spelt
