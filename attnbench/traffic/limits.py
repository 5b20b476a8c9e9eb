"""The limits of a server."""

from dataclasses import dataclass

from attnbench.errors import UsageError

BLOCK = 16  # tokens, vLLM's default


def blocks(tokens: int) -> int:
    """Blocks of the KV cache that hold so many tokens."""
    return -(-tokens // BLOCK)


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """The server's limits; `acceptance` is of each speculative token after accepted ones."""

    max_num_seqs: int
    max_num_batched_tokens: int
    kv_tokens: int
    spec_tokens: int = 0
    acceptance: float = 0.0

    def __post_init__(self) -> None:
        needed = max(self.max_num_seqs, 1 + self.spec_tokens)
        if self.max_num_batched_tokens < needed:
            raise UsageError(
                f"--max-num-batched-tokens {self.max_num_batched_tokens} is less than the {needed} "
                f"tokens of {'a decode' if needed > self.max_num_seqs else 'a step of decodes'}; "
                f"accepted are numbers from that, e.g. --max-num-batched-tokens {needed}"
            )

    @property
    def most_running(self) -> int:
        """Requests that can run at once: where decodes leave no token, none is admitted."""
        return min(self.max_num_seqs, self.max_num_batched_tokens // (1 + self.spec_tokens))
