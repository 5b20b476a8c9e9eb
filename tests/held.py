"""The tensors that an object keeps alive."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch

from attnbench.specs.case import Case

PACKAGES = ("attnbench", "vllm")  # whose objects are looked into


def tensors(held: Any, seen: dict[int, Any]) -> Iterator[torch.Tensor]:
    """Every tensor that an object refers to, directly or through others."""
    if id(held) in seen or isinstance(held, type | Case):
        return
    seen[id(held)] = held  # kept, so that no other gets its id
    if isinstance(held, torch.Tensor):
        yield held
    elif isinstance(held, Mapping):
        for each in held.values():
            yield from tensors(each, seen)
    elif isinstance(held, list | tuple | set):
        for each in held:
            yield from tensors(each, seen)
    elif isinstance(held, partial):
        yield from tensors((held.func, held.args, held.keywords), seen)
    elif hasattr(held, "__closure__"):
        yield from tensors([cell.cell_contents for cell in held.__closure__ or ()], seen)
    elif type(held).__module__.startswith(PACKAGES):
        slots = [getattr(held, name) for name in getattr(type(held), "__slots__", ())]
        yield from tensors([*slots, getattr(held, "__dict__", {})], seen)


def held_bytes(held: Any) -> int:
    """Bytes of the memory behind them, each once."""
    memories = [each.untyped_storage() for each in tensors(held, {})]
    return sum({each.data_ptr(): each.nbytes() for each in memories}.values())
