"""A model of a server's time and memory: rooflines, not measurements."""

from dataclasses import dataclass

import numpy as np

from attnbench.errors import UsageError
from attnbench.specs.batch import Batch, Request
from attnbench.specs.case import Case
from attnbench.specs.cost import Cost, attention_cost, cached_row_bytes, latent_cost
from attnbench.specs.models import MLA_MODELS, MODELS
from attnbench.traffic.requests import Floats
from attnbench.traffic.schedule import Work
from attnbench.traffic.weights import MODEL_WEIGHTS

# vLLM's gpu_memory_utilization. GPUs hold some 7 % more bytes than data sheets say, and activations
# and CUDA graphs, which are not counted here, need about as much.
MEMORY_UTILIZATION = 0.92


@dataclass(frozen=True, slots=True)
class Gpu:
    """Data-sheet rates: dense bf16 FLOP/s, byte/s and bytes; the limits of vLLM's API server."""

    flops_per_second: float
    bytes_per_second: float
    memory: float
    max_num_batched_tokens: int = 8192
    max_num_seqs: int = 1024


# NVIDIA's data sheets of the SXM parts (A100: 80 GB; B200: an eighth of a DGX B200). From H100 on
# they give tensor rates with sparsity, twice the dense ones; FLOP a clock (provenance/peaks.py),
# SMs and boost clock give the same. At its memory clock a B200 has 7.67 TB/s, an H200 4.92. The
# limits are those of vLLM 0.25 (EngineArgs): others from 70 GiB on, unless the GPU is an A100.
GPUS = {
    "h200": Gpu(989e12, 4.8e12, 141e9),
    "h100": Gpu(989e12, 3.35e12, 80e9),
    "b200": Gpu(2250e12, 8e12, 180e9),
    "a100": Gpu(312e12, 2.039e12, 80e9, max_num_batched_tokens=2048, max_num_seqs=256),
}


class Server:
    """One of `tp` ranks that serves a model.

    Raises UsageError for ranks that do not divide the heads.
    """

    def __init__(self, model: str, tp: int, gpu: str) -> None:
        self.model, self.tp, self.gpu = model, tp, GPUS[gpu]
        self.shape = MODELS[model].sharded(tp)
        self.layers, self.weights = MODELS[model].layers, MODEL_WEIGHTS[model]
        self._decode, self._prefill = self._terms(decode=True), self._terms(decode=False)

    def kv_tokens(self) -> int:
        """Tokens that the KV cache holds; UsageError if the weights leave none."""
        row = self.layers * cached_row_bytes(self._case(Request(1, 1)))
        tokens = int((self._room - self.weights.bytes / self.tp) / row)
        if tokens < 1:
            raise UsageError(
                f"--model {self.model}: {self.weights.bytes / self.tp / 1e9:.0f} GB of weights on "
                f"each of --tp {self.tp} ranks leave no memory for the KV cache; accepted are "
                f"{self._more_ranks}the size of the cache, e.g. --kv-tokens 500000"
            )
        return tokens

    @property
    def _room(self) -> float:
        """Bytes for weights and KV cache."""
        return MEMORY_UTILIZATION * self.gpu.memory

    @property
    def _more_ranks(self) -> str:
        """As text, the least power of two that holds the weights, if it divides the heads."""
        ranks = 1 << int(self.weights.bytes / self._room).bit_length()
        is_divisor = not self.shape.num_q_heads * self.tp % ranks
        return f"more ranks, e.g. --tp {ranks}, or " if is_divisor else ""

    def attention_seconds(self, decode: Work, prefill: Work) -> Floats:
        """The roofline of one layer's attention by step."""
        flops, moved = (decode.sums @ self._decode + prefill.sums @ self._prefill).T
        compute, memory = flops / self.gpu.flops_per_second, moved / self.gpu.bytes_per_second
        seconds: Floats = np.maximum(compute, memory)
        return seconds

    def step_seconds(self, decode: Work, prefill: Work) -> Floats:
        """Attention of all layers, and the roofline of everything else, by step."""
        tokens = decode.tokens + prefill.tokens
        compute = 2 * self.weights.active * tokens / self.gpu.flops_per_second
        memory = self.weights.touched(tokens) / self.gpu.bytes_per_second
        attention = self.layers * self.attention_seconds(decode, prefill)
        return attention + np.maximum(compute, memory) / self.tp

    def _terms(self, *, decode: bool) -> Floats:
        """FLOP and bytes of each pair, token and KV token: float64 [3, 2].

        specs/cost.py is linear in the three, so three requests give them.
        """
        probes = {(1, 1): (1, 1, 1), (1, 2): (2, 1, 2), (2, 2): (3, 2, 2)}
        costs = [self._cost(Request(*lengths), decode=decode) for lengths in probes]
        sums = np.array(list(probes.values()), dtype=np.float64)
        return np.linalg.solve(sums, np.array([(each.flops, each.bytes) for each in costs]))

    def _cost(self, request: Request, *, decode: bool) -> Cost:
        cost = latent_cost if self.model in MLA_MODELS else attention_cost
        return cost(self._case(request), int(decode))

    def _case(self, request: Request) -> Case:
        family = "mla" if self.model in MLA_MODELS else "attn"
        return Case(family, "roofline", Batch((request,)), self.shape, "bf16")
