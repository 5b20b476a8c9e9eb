"""vLLM's backends of standard attention: their configuration, and refusals in vLLM's words."""

from typing import TYPE_CHECKING, Any, ClassVar

from attnbench.kernels.base import Backend, Refused, Setting
from attnbench.kernels.inputs import torch_dtype
from attnbench.kernels.memory import Bytes
from attnbench.kernels.vllm.attention_prepared import VllmPrepared
from attnbench.kernels.vllm.config import LayerConfig, vllm_config
from attnbench.kernels.vllm.memory import attention_bytes
from attnbench.kernels.vllm.registry import (
    USUAL_BLOCK_SIZE,
    Configuration,
    Unavailable,
    backend_class,
    block_size,
    complaints,
    kernel_block_sizes,
)
from attnbench.kernels.vllm.served import SERVER_KNOBS, length_refusal, max_model_len_of
from attnbench.kernels.vllm.startup import activate
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case, Layout, Value
from attnbench.specs.shape import AttnShape

if TYPE_CHECKING:
    from vllm.config import VllmConfig


class VllmAttention(Backend):
    """A backend of vLLM's registry; `enum` is its name there."""

    enum: ClassVar[str]
    module: ClassVar = "vllm"
    devices: ClassVar = ("cuda",)
    knobs: ClassVar[frozenset[str]] = SERVER_KNOBS
    layouts: ClassVar[tuple[Layout, ...]] = ("NHD", "HND")
    scopes: ClassVar = ("kernel", "layer")
    workspace_bytes: ClassVar[int] = 0  # that all layers share
    nan_tails: ClassVar[bool] = False  # whether it tolerates NaN behind a request's last token

    def refusal(self, case: Case, machine: Machine) -> str | None:
        return (
            super().refusal(case, machine)
            or length_refusal(case)
            or self._vllm_refusal(case, machine)
        )

    def memory(self, case: Case, sets: int, machine: Machine) -> Bytes:
        held = attention_bytes(case, sets, case.block_size or USUAL_BLOCK_SIZE)
        return held | {"workspaces": self.workspace_bytes}

    def prepare(self, case: Case, setting: Setting) -> VllmPrepared:
        cls = backend_class(self.enum)
        usual = case.block_size or USUAL_BLOCK_SIZE
        config = self.config(case, usual, graphs=setting.graphs)
        activate(config)  # a backend's page sizes may depend on it
        page = block_size(cls, case.block_size, USUAL_BLOCK_SIZE)
        assert page is not None
        if page != usual:
            config = self.config(case, page, graphs=setting.graphs)
        ready = VllmPrepared(cls, config, case, setting, page, nan_tails=self.nan_tails)
        ready.resolved |= self.verify(case, ready.layer, ready.builder, ready.metadata)
        return ready

    def attention_config(self, case: Case) -> dict[str, object]:
        """The fields of vLLM's attention_config that the case asks for."""
        return {}

    def verify(self, case: Case, layer: Any, builder: Any, metadata: Any) -> dict[str, Value]:
        """Facts on what will run. Raises Refused if vLLM chose something else than asked."""
        return {}

    def config(self, case: Case, page: int, *, graphs: bool) -> "VllmConfig":
        """The VllmConfig of the case's layer, with pages of `page` tokens."""
        return vllm_config(
            LayerConfig(
                shape=case.shape,
                dtype=case.dtype,
                batch=case.batch,
                block_size=page,
                max_model_len=max_model_len_of(case),
                kv_cache_dtype=case.kv_cache_dtype,
                graphs=graphs,
                attention=tuple(self.attention_config(case).items()),
            )
        )

    def _vllm_refusal(self, case: Case, machine: Machine) -> str | None:
        """The backend's own reasons, in its words, and ours for the page size."""
        assert isinstance(case.shape, AttnShape)
        try:
            cls = backend_class(self.enum)
            activate(self.config(case, case.block_size or USUAL_BLOCK_SIZE, graphs=True))
        except (Unavailable, Refused) as error:
            return str(error)
        asked = Configuration(
            head_size=case.shape.head_dim,
            dtype=torch_dtype(case.dtype),
            kv_cache_dtype=case.kv_cache_dtype,
            has_sink=case.sinks,
            has_sliding_window=case.window is not None,
        )
        if reasons := complaints(cls, asked, machine):
            return f"vLLM's {self.enum} says: {'; '.join(reasons)}"
        if block_size(cls, case.block_size, USUAL_BLOCK_SIZE) is None:
            sizes = [f"{'multiples of ' * many}{size}" for size, many in kernel_block_sizes(cls)]
            return f"does not take --block-size {case.block_size} (it takes {', '.join(sizes)})"
        return None
