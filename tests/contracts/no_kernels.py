"""Leaves out kernels, compilers and drivers, so everything around them runs without a GPU."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from typing import Any

import torch
from torch._ops import HigherOrderOperator
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.contracts.faked_device import Gpu

COMPILED = re.compile(r"_C(_\w+)?|_\w+_C|vllm\w*")  # namespaces of operations


class KernelReached(BaseException):
    """Raised where a kernel would run whose result nobody here can foresee."""


class OnTheCpu(TorchFunctionMode):  # type: ignore[misc]
    """Tensors for a GPU are made on the CPU, and no memory is pinned."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.Tensor.pin_memory, torch.Tensor.cuda):
            return args[0]
        kwargs.pop("pin_memory", None)
        if "device" in kwargs:
            kwargs["device"] = _on_cpu(kwargs["device"])
        if func is torch.Tensor.to:
            args = tuple(map(_on_cpu, args))
        return func(*args, **kwargs)


def _on_cpu(value: Any) -> Any:
    named = isinstance(value, (torch.device, str))
    return torch.device("cpu") if named and re.match(r"cuda(:|$)", str(value)) else value


class NoKernels(TorchDispatchMode):  # type: ignore[misc]
    """Compiled operations do nothing. While planning they return zeros; launches end there."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.planning = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if isinstance(func, HigherOrderOperator):
            raise KernelReached(func.name())
        if not COMPILED.fullmatch(func.namespace):
            return func(*args, **(kwargs or {}))
        kinds = [str(each.type) for each in func._schema.returns]
        if not self.planning and any("Tensor" in kind for kind in kinds):
            raise KernelReached(func.name())
        made = tuple(_zeros(kind) for kind in kinds)
        return made[0] if len(made) == 1 else made or None

    def launch(self, calls: Sequence[Callable[[], object]]) -> None:
        """Each call, up to the first kernel with a result."""
        self.planning = False
        try:
            for call in calls:
                _up_to_a_kernel(call)
        finally:
            self.planning = True


def _up_to_a_kernel(call: Callable[[], object]) -> None:
    try:
        call()
    except KernelReached:
        pass
    except Exception as error:
        if type(error).__name__ != "FunctionNotFoundError":  # of the driver
            raise


def _zeros(kind: str) -> Any:
    if kind == "Tensor":
        return torch.zeros(8, dtype=torch.int32)
    return [torch.zeros(8, dtype=torch.int32) for _ in range(2)] if "Tensor" in kind else 0


class Compiled:
    """In place of a module that FlashInfer would compile: plans are zeros."""

    def __init__(self, left_out: NoKernels) -> None:
        self.left_out = left_out

    def __getattr__(self, name: str) -> Callable[..., Sequence[object]]:
        def function(*_: object, **__: object) -> Sequence[object]:
            if not self.left_out.planning:
                raise KernelReached(name)
            plan = [0] * 18
            return (plan, 0) if "workspace_bytes" in name else plan

        return function


class Stream:
    """A kernel would be launched into it."""

    def __init__(self, *_: object, **__: object) -> None:
        raise KernelReached("a stream")


def leave_out_kernels(gpu: Gpu) -> NoKernels:
    """For the rest of this process; after `fake_gpu`."""
    from triton.runtime.autotuner import Autotuner
    from triton.runtime.jit import JITFunction

    for launcher in (JITFunction, Autotuner):
        launcher.run = lambda *_, **__: None
    torch.cuda.Stream = Stream
    torch.cuda.device = nullcontext
    found = NoKernels()
    with suppress(ImportError):
        from vllm.vllm_flash_attn.cute import interface

        interface._flash_attn_fwd = Compiled(found).forward
    OnTheCpu().__enter__()
    found.__enter__()
    _leave_out_flashinfers(found, gpu.capability)
    return found


def _leave_out_flashinfers(left_out: NoKernels, capability: tuple[int, int]) -> None:
    """What it compiles or looks for in a network; and it refuses to ask a CPU for a capability."""
    suffix = "a" if capability >= (9, 0) else ""
    os.environ["FLASHINFER_CUDA_ARCH_LIST"] = f"{capability[0]}.{capability[1]}{suffix}"
    import flashinfer.mla
    from flashinfer.jit.core import JitSpec

    JitSpec.build_and_load = lambda *_, **__: Compiled(left_out)
    replaced = {
        "get_compute_capability": lambda *_: capability,
        "setup_cubin_loader": lambda *_: None,
        "get_trtllm_gen_fmha_module": lambda *_: Compiled(left_out),
    }
    modules = [each for name, each in sys.modules.items() if name.startswith(flashinfer.__name__)]
    for module in modules:
        for name, replacement in replaced.items():
            if hasattr(module, name):
                setattr(module, name, replacement)
