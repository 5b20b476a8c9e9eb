"""cuDNN's paged attention, through FlashInfer."""

from typing import ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.flashinfer_attn.cudnn import CudnnBackend, CudnnPrepared
from attnbench.specs.case import Case


class FlashInferCudnn(CudnnBackend):
    """Decodes run as prefills of one token; window and soft cap do not reach cuDNN."""

    name: ClassVar = "flashinfer-cudnn"

    def prepare(self, case: Case, setting: Setting) -> CudnnPrepared:
        return CudnnPrepared(case, setting, layout="NHD")
