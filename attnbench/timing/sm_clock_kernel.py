"""The kernel of the SM clock. Imports Triton, so only a worker on a GPU imports this module."""

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def stamp(out, count, capacity: tl.constexpr):  # type: ignore[no-untyped-def]  # Triton reads it
    """Write the time (ns), this SM's cycle counter and its number to the next row of out."""
    slot = tl.atomic_add(count, 1) % capacity
    time = tl.inline_asm_elementwise(
        "mov.u64 $0, %globaltimer;", "=l", [], dtype=tl.int64, is_pure=False, pack=1
    )
    cycles = tl.inline_asm_elementwise(
        "mov.u64 $0, %clock64;", "=l", [], dtype=tl.int64, is_pure=False, pack=1
    )
    sm = tl.inline_asm_elementwise(
        "mov.u32 $0, %smid;", "=r", [], dtype=tl.int32, is_pure=False, pack=1
    )
    tl.store(out + 3 * slot, time)
    tl.store(out + 3 * slot + 1, cycles)
    tl.store(out + 3 * slot + 2, sm.to(tl.int64))
