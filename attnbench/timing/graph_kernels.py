"""The names of the kernels in a captured CUDA graph, as the driver knows them.

Read from the graph's nodes, so that naming what ran costs no profiling and changes no timing.
"""

import ctypes
from functools import cache

KERNEL_NODE = 0  # CU_GRAPH_NODE_TYPE_KERNEL


class _KernelParams(ctypes.Structure):
    """CUDA_KERNEL_NODE_PARAMS_v2 of cuda.h."""

    _fields_ = (
        ("func", ctypes.c_void_p),
        ("sizes", ctypes.c_uint * 7),  # grid, block, shared memory
        ("kernel_params", ctypes.c_void_p),
        ("extra", ctypes.c_void_p),
        ("kern", ctypes.c_void_p),
        ("ctx", ctypes.c_void_p),
    )


def kernel_names(graph: int, calls: int, own: int) -> tuple[str, ...]:
    """Names in alphabetical order of the kernels of the first of `calls` equal calls.

    `graph` is a cudaGraph_t whose first and last `own` nodes are of no call. Copies and fills are
    no kernels; none are found where the driver is older than CUDA 12.3 and does not tell.
    """
    cuda = ctypes.CDLL("libcuda.so.1")
    if not hasattr(cuda, "cuFuncGetName"):
        return ()
    nodes = _nodes(cuda, graph)[own:-own]
    found = {_name(cuda, node) for node in nodes[: -(-len(nodes) // calls)]}
    return tuple(sorted(name for name in found if name))


def _nodes(cuda: ctypes.CDLL, graph: int) -> list[int]:
    count = ctypes.c_size_t()
    _demand(cuda.cuGraphGetNodes(ctypes.c_void_p(graph), None, ctypes.byref(count)))
    nodes = (ctypes.c_void_p * count.value)()
    _demand(cuda.cuGraphGetNodes(ctypes.c_void_p(graph), nodes, ctypes.byref(count)))
    return [node or 0 for node in nodes]


def _name(cuda: ctypes.CDLL, node: int) -> str | None:
    """None for a node that is no kernel."""
    kind = ctypes.c_int()
    _demand(cuda.cuGraphNodeGetType(ctypes.c_void_p(node), ctypes.byref(kind)))
    if kind.value != KERNEL_NODE:
        return None
    params, name = _KernelParams(), ctypes.c_char_p()
    _demand(cuda.cuGraphKernelNodeGetParams_v2(ctypes.c_void_p(node), ctypes.byref(params)))
    if params.func:
        _demand(cuda.cuFuncGetName(ctypes.byref(name), ctypes.c_void_p(params.func)))
    else:
        _demand(cuda.cuKernelGetName(ctypes.byref(name), ctypes.c_void_p(params.kern)))
    return _demangled(name.value or b"")


def _demand(status: int) -> None:
    if status != 0:
        raise RuntimeError(f"the CUDA driver does not tell a graph's kernels: error {status}")


@cache
def _demangled(name: bytes) -> str:
    """A C++ name as its source spells it; any other as it stands."""
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
