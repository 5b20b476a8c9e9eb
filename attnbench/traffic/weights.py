"""The parameters of the models by name, counted from their configurations."""

from dataclasses import dataclass

from attnbench.specs.models import MODELS
from attnbench.specs.shape import AttnShape
from attnbench.traffic.requests import Floats

_MXFP4 = 4.25 / 8  # bytes: 4 bits, and a scale of 8 bits for 32 of them


@dataclass(frozen=True, slots=True)
class Experts:
    """The experts of a layer: all of them, those that one token is routed to, and their size."""

    count: int
    per_token: int
    size: int  # moe_intermediate_size
    shared: int = 0  # experts that every token uses
    dense_layers: int = 0  # layers without experts
    width: float | None = None  # bytes of a parameter if another than the rest's


@dataclass(frozen=True, slots=True)
class Config:
    """Fields of a model's config.json, and the bytes of a parameter as released."""

    hidden: int
    intermediate: int
    vocab: int
    experts: Experts | None = None
    q_lora_rank: int = 0
    width: float = 2.0


@dataclass(frozen=True, slots=True)
class Weights:
    """Numbers of parameters, without norms and biases."""

    embedding: int  # one row of it for a token
    always: int  # used by every token
    routed: int = 0  # of all experts that tokens are routed to
    used: float = 0.0  # part of these that one token uses
    width: float = 2.0  # bytes of a parameter
    routed_width: float = 2.0

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.embedding + self.always + self.routed

    @property
    def active(self) -> float:
        """Those that one token is multiplied with."""
        return self.always + self.routed * self.used

    @property
    def bytes(self) -> float:
        """Memory of all of them."""
        return (self.embedding + self.always) * self.width + self.routed * self.routed_width

    def touched(self, tokens: Floats) -> Floats:
        """Bytes of the parameters that any of `tokens` uses; experts are drawn independently."""
        used = 1 - (1 - self.used) ** tokens
        return self.always * self.width + self.routed * self.routed_width * used


def weights_of(model: str) -> Weights:
    """The weights of a model by its configuration."""
    config, layers = _CONFIGS[model], MODELS[model].layers
    embedding, experts = config.vocab * config.hidden, config.experts
    always = embedding + layers * _attention(model, config)  # the head is as large
    if experts is None:
        always += layers * _mlp(config.hidden, config.intermediate)
        return Weights(embedding, always, width=config.width)
    expert, sparse = _mlp(config.hidden, experts.size), layers - experts.dense_layers
    always += experts.dense_layers * _mlp(config.hidden, config.intermediate)
    always += sparse * (experts.shared * expert + experts.count * config.hidden)  # and the router
    routed, used = sparse * experts.count * expert, experts.per_token / experts.count
    return Weights(embedding, always, routed, used, config.width, experts.width or config.width)


def _mlp(hidden: int, intermediate: int) -> int:
    """Gate, up and down projections."""
    return 3 * hidden * intermediate


def _attention(model: str, config: Config) -> int:
    """The projections of a layer."""
    hidden, rank, shape = config.hidden, config.q_lora_rank, MODELS[model].shape
    if isinstance(shape, AttnShape):
        return 2 * hidden * (shape.num_q_heads + shape.num_kv_heads) * shape.head_dim
    heads, from_latent = shape.num_q_heads, shape.qk_nope_head_dim + shape.v_head_dim
    queries = heads * shape.qk_head_dim
    query = rank * (hidden + queries) if rank else hidden * queries
    key_value = hidden * shape.latent_dim + shape.kv_lora_rank * heads * from_latent
    return query + key_value + heads * shape.v_head_dim * hidden


# Of the config.json of the release on Hugging Face; glm-5's indexer is left out. The numbers of
# parameters are those published for each model (tests/test_traffic_weights.py); the fields of
# gpt-oss-120b, deepseek-v3 and glm-5 are also the defaults of transformers.
_CONFIGS = {
    "llama3-8b": Config(4096, 14336, 128256),
    "llama3-70b": Config(8192, 28672, 128256),
    "llama3-405b": Config(16384, 53248, 128256),
    "qwen3-8b": Config(4096, 12288, 151936),
    "qwen3-32b": Config(5120, 25600, 151936),
    "gpt-oss-120b": Config(2880, 2880, 201088, Experts(128, 4, 2880, width=_MXFP4)),
    "deepseek-v2": Config(5120, 12288, 102400, Experts(160, 6, 1536, 2, 1), 1536),
    "deepseek-v2-lite": Config(2048, 10944, 102400, Experts(64, 6, 1408, 2, 1)),
    "deepseek-v3": Config(7168, 18432, 129280, Experts(256, 8, 2048, 1, 3), 1536, 1.0),
    "kimi-k2": Config(7168, 18432, 163840, Experts(384, 8, 2048, 1, 1), 1536, 1.0),
    "glm-5": Config(6144, 12288, 154880, Experts(256, 8, 2048, 1, 3), 2048),
}
MODEL_WEIGHTS = {model: weights_of(model) for model in _CONFIGS}
