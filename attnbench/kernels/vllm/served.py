"""How a server runs a batch: in which graph, padded to how many requests, and for which lengths.

Before it knows a request, vLLM captures decodes of one new token in graphs of fixed sizes (FULL),
as if sequences of `max_model_len` tokens came. What Python or host code derives from that length,
such as the number of KV splits, stays in the graph; before a replay the builder refreshes nothing
but its buffers. Any other batch is launched with its own lengths. Block tables are as wide as
`max_model_len` for all. (vllm/v1/worker/gpu_model_runner.py: _build_attention_metadata,
_dummy_run.)
"""

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from attnbench.specs.batch import Batch
from attnbench.specs.case import Case, Value

if TYPE_CHECKING:
    from vllm.config import VllmConfig

# A case without `max_model_len` is of a bare kernel: no padding, nothing for other lengths than its
# own, and what earlier releases of attnbench took by default.
SERVER_KNOBS = frozenset({"max_model_len", "unpadded"})


def max_model_len_of(case: Case) -> int | None:
    """The longest sequence that the case's server allows; None for a bare kernel."""
    limit = case.knob("max_model_len")
    return None if limit is None else int(limit)


def length_refusal(case: Case) -> str | None:
    """Why no server with that limit runs the batch."""
    limit, longest = max_model_len_of(case), case.batch.max_kv_len
    if limit is None or longest <= limit:
        return None
    return f"has a request of {longest} tokens, more than --max-model-len {limit}"


def graph_size(batch: Batch, sizes: Iterable[int]) -> int | None:
    """The requests of the smallest captured graph that can replay the batch.

    None where vLLM has none: for other batches than decodes of one token, and for larger ones.
    """
    if batch.max_q_len > 1:
        return None
    return min((size for size in sizes if size >= len(batch)), default=None)


@dataclass(frozen=True, slots=True)
class Served:
    """What a server adds to a batch."""

    max_model_len: int | None = None  # None: a bare kernel
    captured: bool = False  # replayed from a graph that was captured for max_model_len
    padding: int = 0  # requests of length 0, each with one token, behind the batch's own

    @classmethod
    def of(cls, case: Case, config: "VllmConfig", builder: Any, spec: Any, *, graphs: bool) -> Self:
        """As vLLM's dispatcher decides; `builder` is the backend's class, `spec` its cache's.

        `graphs` is whether calls are timed from a graph.
        """
        limit = max_model_len_of(case)
        if limit is None or not graphs or not builder.get_cudagraph_support(config, spec).value:
            return cls(limit)
        size = graph_size(case.batch, config.compilation_config.cudagraph_capture_sizes)
        if size is None:
            return cls(limit)
        padding = 0 if case.knob("unpadded") else size - len(case.batch)
        return cls(limit, captured=True, padding=padding)

    def build(self, builder: Any, common: Any) -> Any:
        """The metadata that calls are launched with, by the backend's builder.

        For a captured batch they are those of the capture, and the builder's buffers are refreshed
        as before a replay.
        """
        if not self.captured:
            return builder.build(0, common)
        lengths, worst = common.seq_lens.clone(), copy(common)
        worst.max_seq_len = self.max_model_len
        worst.query_start_loc_cpu = _one_token_each(common)
        frozen = builder.build_for_cudagraph_capture(worst)
        common.seq_lens.copy_(lengths)  # some builders set them to 1
        builder.build(0, common)
        return frozen

    def facts(self, batch: Batch) -> dict[str, Value]:
        """What a row says of it."""
        found: dict[str, Value] = {}
        if self.max_model_len is not None:
            found["max_model_len"] = self.max_model_len
        if self.captured:
            found["padded_to"] = len(batch) + self.padding
        return found


def _one_token_each(common: Any) -> Any:
    """Starts of the queries at capture, where no request is padding: int32 [requests + 1]."""
    import torch

    return torch.arange(common.num_reqs + 1, dtype=torch.int32)
