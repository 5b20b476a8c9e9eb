"""From a trace to batches, as options; None is vLLM's default on the GPU, or the trace's rate."""

from dataclasses import dataclass
from pathlib import Path

from attnbench.errors import UsageError
from attnbench.families.options import Common
from attnbench.options.kinds import FilePath, Number, Whole, one_of
from attnbench.options.option import one, shared
from attnbench.specs.models import MODELS
from attnbench.traffic.server import GPUS
from attnbench.traffic.weights import MODEL_WEIGHTS


def _fraction(value: float) -> float:
    if not 0 < value <= 1:
        raise UsageError(f"'{value:g}' is not a number above 0 and at most 1, e.g. 0.7")
    return value


@dataclass(frozen=True, kw_only=True)
class TrafficOptions:
    """The options that say how a trace becomes batches."""

    batches: int = one(
        Whole(most=1000),
        "--batches",
        default=24,
        metavar="N",
        heading="Selection",
        help="Maximum number of batches; each kind of step has at least one.",
    )
    rate: float | None = one(
        Number(),
        "--rate",
        metavar="R",
        heading="Selection",
        help="Scale arrivals to this mean rate per second.  [default: the trace's]",
    )
    model: str = one(
        one_of(*MODEL_WEIGHTS),
        "--model",
        default="llama3-8b",
        metavar="NAME",
        heading="Shape",
        help=f"Of {', '.join(MODEL_WEIGHTS)}.",
    )
    tp: int = shared(Common, "tp")
    gpu: str = one(
        one_of(*GPUS, aliases={name.upper(): name for name in GPUS}),
        "--gpu",
        default="h200",
        metavar="NAME",
        heading="Shape",
        help=f"Of {', '.join(GPUS)}: its roofline, memory and vLLM's defaults for it.",
    )
    max_model_len: int | None = one(
        Whole(),
        "--max-model-len",
        metavar="N",
        heading="Data",
        help="Maximum tokens of a request; longer ones are left out.  [default: the model's]",
    )
    max_num_seqs: int | None = one(
        Whole(),
        "--max-num-seqs",
        metavar="N",
        heading="Data",
        help="Maximum requests that run at once.  [default: vLLM's]",
    )
    max_num_batched_tokens: int | None = one(
        Whole(),
        "--max-num-batched-tokens",
        metavar="N",
        heading="Data",
        help="Maximum new tokens of a step.  [default: vLLM's]",
    )
    kv_tokens: int | None = one(
        Whole(),
        "--kv-tokens",
        metavar="N",
        heading="Data",
        help="Tokens that the KV cache holds.  [default: what the weights leave]",
    )
    spec_tokens: int = one(
        Whole(least=0, most=64),
        "--spec-tokens",
        default=0,
        metavar="K",
        heading="Data",
        help="Speculative tokens of a decode.",
    )
    acceptance: float | None = one(
        Number(_fraction),
        "--acceptance",
        metavar="A",
        heading="Data",
        help="Probability that a speculative token is accepted if those before it were.",
    )
    seed: int = one(
        Whole(least=0),
        "--seed",
        default=0,
        metavar="N",
        heading="Data",
        help="Decides which speculative tokens are accepted.",
    )

    @property
    def longest(self) -> int:
        """Most tokens of a request that the server takes."""
        return self.max_model_len or MODELS[self.model].longest


@dataclass(frozen=True, kw_only=True)
class TrafficCommand(TrafficOptions):
    """The same, and the file to write."""

    study: Path | None = one(
        FilePath(),
        "--study",
        metavar="FILE",
        heading="Output",
        help="Write a study of the batches: attnbench study FILE measures them.",
    )
