"""vLLM's MLA backends: their refusals and hooks, and how their builders split a batch."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from attnbench.kernels.base import Refused, Setting
from attnbench.kernels.inputs import torch_dtype
from attnbench.kernels.memory import Bytes
from attnbench.kernels.mla_base.backend import MlaBackend
from attnbench.kernels.vllm.config import LayerConfig, vllm_config
from attnbench.kernels.vllm.memory import context_bytes, is_captured, mla_bytes
from attnbench.kernels.vllm.mla_layer import limit_requests, most_requests
from attnbench.kernels.vllm.mla_prefill import prefill_refusal, prefill_settings
from attnbench.kernels.vllm.mla_prepared import VllmMlaPrepared
from attnbench.kernels.vllm.names import query_len_support
from attnbench.kernels.vllm.registry import (
    USUAL_BLOCK_SIZE,
    Configuration,
    Unavailable,
    backend_class,
    block_size,
    complaints,
)
from attnbench.kernels.vllm.served import (
    SERVER_KNOBS,
    Served,
    length_refusal,
    max_model_len_of,
)
from attnbench.kernels.vllm.startup import activate
from attnbench.provenance.machine import Machine
from attnbench.specs.batch import Batch, Request
from attnbench.specs.case import Case, Dtype
from attnbench.specs.shape import MlaShape

if TYPE_CHECKING:
    from vllm.config import VllmConfig

ONE_TOKEN = Batch((Request(1, 1),))
# New tokens per request on a decode path (vLLM's QueryLenSupport): one, equally many, or any.
QueryLens = Literal["single", "uniform", "varlen"]


class VllmMlaBackend(MlaBackend):
    """A backend of vLLM's registry; a subclass states its limits, known without importing vLLM."""

    module: ClassVar = "vllm"
    devices: ClassVar = ("cuda",)
    knobs: ClassVar[frozenset[str]] = SERVER_KNOBS | {"threshold", "prefill_backend"}
    dtypes: ClassVar[tuple[Dtype, ...]] = ("bf16", "fp16")
    path: ClassVar = "decode"
    enum: ClassVar[str]
    query_lens: ClassVar[QueryLens] = "single"  # of 0.25; the installed release's come first
    own_threshold: ClassVar[int] = 1  # the builder's reorder_batch_threshold
    bare_block_size: ClassVar[int] = 64  # tokens per page, unless a server chooses
    sparse: ClassVar[bool] = False
    nan_tails: ClassVar[bool] = False  # whether it tolerates NaN behind a request's last token
    split_queries: ClassVar[bool] = False  # whether forward_mqa takes latent and RoPE parts apart

    def num_decode(self, case: Case) -> int:
        """As vLLM's split_decodes_and_prefills counts them."""
        threshold = int(case.knob("threshold") or self.own_threshold)
        return split(case.batch, threshold, uniform=self._decodes != "varlen")

    @property
    def _decodes(self) -> QueryLens:
        """New tokens per request on the decode path of the installed release."""
        return _QUERY_LENS.get(query_len_support(self.enum), self.query_lens)

    def memory(self, case: Case, sets: int, machine: Machine) -> Bytes:
        page = case.block_size or self.bare_block_size
        decodes, split_queries = self.num_decode(case), self.split_queries
        held = mla_bytes(case, decodes, sets, page, split_queries=split_queries)
        return held | {"workspaces": self.workspace_bytes(case, machine)}

    def workspace_bytes(self, case: Case, machine: Machine) -> int:
        """Of what the builder and the impl reserve for the server's limits."""
        return context_bytes(case, case.block_size or self.bare_block_size, reserved(case))

    def refusal(self, case: Case, machine: Machine) -> str | None:
        return (
            super().refusal(case, machine)
            or self._path_refusal(case)
            or self._prefill_refusal(case, machine)
            or length_refusal(case)
            or self._vllm_refusal(case, machine)
        )

    def _path_refusal(self, case: Case) -> str | None:
        threshold, decodes = case.knob("threshold"), self.num_decode(case)
        if self._decodes == "single" and threshold not in (None, 1):
            return (
                f"decodes one token at a time, and --thresholds {threshold} would make it read "
                "beyond its tables; it takes 1"
            )
        if case.knob("num_splits") is not None and not decodes:
            return "only splits decodes, and no request of this batch takes the decode path"
        if _in_vllm_order(case.batch, decodes):
            return None
        return (
            "needs prefills with a context before those without one, as vLLM's scheduler orders "
            "them; this batch has a longer prefill with a context after one without"
        )

    def _prefill_refusal(self, case: Case, machine: Machine) -> str | None:
        asked = case.knob("prefill_backend")
        if asked is None:
            return None
        if self.num_decode(case) == len(case.batch):
            return (
                f"sends no request of this batch to prefill, so --prefill-backends {asked} "
                "would change nothing; a lower threshold would, e.g. --thresholds 1"
            )
        return prefill_refusal(str(asked), machine)

    def _vllm_refusal(self, case: Case, machine: Machine) -> str | None:
        """vLLM's own reasons; imports vLLM. They depend neither on the batch nor on most knobs."""
        kept = tuple((name, value) for name, value in case.knobs if name == "prefill_backend")
        return _vllm_reasons(self, replace(case, batch=ONE_TOKEN, knobs=kept), machine)

    def complaints(self, case: Case, machine: Machine) -> list[str]:
        """The backend class's reasons against a case. Raises Unavailable and Refused."""
        cls, config, _ = self._configured(case)
        activate(config)
        assert isinstance(case.shape, MlaShape)
        asked = Configuration(
            head_size=case.shape.latent_dim,
            dtype=torch_dtype(case.dtype),
            kv_cache_dtype=case.kv_cache_dtype,
            use_mla=True,
            use_sparse=self.sparse,
        )
        return complaints(cls, asked, machine)

    def attention(self, case: Case) -> dict[str, object]:
        """Fields of vLLM's attention_config that the case's knobs set."""
        return prefill_settings(case.knob("prefill_backend"))

    def _configured(self, case: Case, *, graphs: bool = True) -> "tuple[Any, VllmConfig, int]":
        cls, limit = backend_class(self.enum), max_model_len_of(case)
        usual = self.bare_block_size if limit is None else USUAL_BLOCK_SIZE
        page = block_size(cls, case.block_size, usual)
        if page is None:
            raise Refused(f"does not take --block-size {case.block_size}")
        model = () if case.index_topk is None else (("index_topk", case.index_topk),)
        wanted = LayerConfig(
            shape=case.shape,
            dtype=case.dtype,
            batch=case.batch,
            block_size=page,
            max_model_len=limit,
            kv_cache_dtype=case.kv_cache_dtype,
            attention=tuple(self.attention(case).items()),
            model=model,
            graphs=graphs,
        )
        return cls, vllm_config(wanted), page

    def prepare(self, case: Case, setting: Setting) -> VllmMlaPrepared:
        try:
            cls, config, page = self._configured(case, graphs=setting.graphs)
        except Unavailable as error:
            raise Refused(str(error)) from error
        served = Served.of(case, config, cls.get_builder_cls(), None, graphs=setting.graphs)
        prefills = not served.captured
        limit_requests(config, len(case.batch) + served.padding, prefills=prefills)
        return VllmMlaPrepared(self, cls, config, case, setting, page, served)

    def configure(self, prepared: VllmMlaPrepared) -> None:
        """Apply the case's knobs to the builder and the impl, before metadata are built."""
        builder = prepared.builder
        found = _QUERY_LENS[builder.query_len_support.name]
        if found != self._decodes:
            raise Refused(
                f"this vLLM's builder decodes {found} queries, but attnbench expects "
                f"{self._decodes}"
            )
        if (threshold := prepared.case.knob("threshold")) is not None:
            builder.reorder_batch_threshold = int(threshold)

    def decodes(self, prepared: VllmMlaPrepared, metadata: Any) -> int:
        """The requests that the metadata send to the decode path, those of padding too."""
        return int(metadata.num_decodes)

    def scheduled(self, prepared: VllmMlaPrepared, metadata: Any) -> Any:
        """The metadata, changed as the case's knobs ask."""
        return metadata

    def facts(self, prepared: VllmMlaPrepared) -> dict[str, Any]:
        """Further facts on what ran, stored with the row."""
        return {}


@cache
def _vllm_reasons(backend: VllmMlaBackend, case: Case, machine: Machine) -> str | None:
    """Cached, as a configuration takes vLLM a tenth of a second or more."""
    try:
        reasons = backend.complaints(case, machine)
    except (Unavailable, Refused) as error:
        return str(error)
    return f"vLLM's {backend.enum} says: {'; '.join(reasons)}" if reasons else None


def reserved(case: Case) -> int:
    """The requests that builders reserve memory for, those of padding apart."""
    return most_requests(len(case.batch), prefills=not is_captured(case))


# By the names of vLLM's QueryLenSupport.
_QUERY_LENS: dict[str | None, QueryLens] = {
    "SINGLE_ONLY": "single",
    "UNIFORM": "uniform",
    "VARLEN": "varlen",
}


def split(batch: Batch, threshold: int, *, uniform: bool) -> int:
    """The number of requests that decode; they come first in execution order.

    Those of at most `threshold` new tokens; if the kernel needs equally many for all, those with as
    many as the first (vllm/v1/attention/backends/utils.py, split_decodes_and_prefills).
    """
    q_lens: Sequence[int] = [request.q_len for request in batch]
    if q_lens[0] > threshold:
        return 0
    if uniform:
        return q_lens.count(q_lens[0])
    return sum(q_len <= threshold for q_len in q_lens)


def _in_vllm_order(batch: Batch, decodes: int) -> bool:
    """Whether no prefill with a context comes after one without."""
    contexts = [request.context_len > 0 for request in batch.requests[decodes:]]
    return contexts == sorted(contexts, reverse=True)
