"""The cuDNN baseline, through FlashInfer."""

from typing import ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.flashinfer_attn.cudnn import CudnnBackend, CudnnPrepared
from attnbench.kernels.prefill import DEFAULT_LAYOUT, PrefillBackend
from attnbench.specs.case import Case


class Cudnn(PrefillBackend, CudnnBackend):
    """Without fp8: its fp8 prefill needs SM100, where FlashInfer's own tests mark it as wrong."""

    name: ClassVar = "cudnn"

    def prepare(self, case: Case, setting: Setting) -> CudnnPrepared:
        return CudnnPrepared(case, setting, layout=DEFAULT_LAYOUT)
