"""The kernel of the marks. Imports Triton, so only a worker on a GPU imports this module."""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["place"])
def attnbench_mark(out, place):  # type: ignore[no-untyped-def]  # Triton reads it
    """Write the time (ns) to out[place]; it is read first, so no memory is waited for."""
    time = tl.inline_asm_elementwise(
        "mov.u64 $0, %globaltimer;", "=l", [], dtype=tl.int64, is_pure=False, pack=1
    )
    tl.store(out + place, time)
