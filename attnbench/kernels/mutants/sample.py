"""A handful of mutants that any machine tries in seconds."""

from collections.abc import Iterator
from functools import partial

from attnbench.kernels.check import WrongResult
from attnbench.kernels.mutants.catalogue import FAULTS
from attnbench.kernels.mutants.trial import HONEST, Trial, made_ready, trials
from attnbench.provenance.machine import Machine
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape

SETS, SEED = 3, 0
SHAPE = AttnShape(num_q_heads=8, num_kv_heads=2, head_dim=128)
CASES = (
    ("attn", "sdpa", "2q1kv4091"),
    ("attn", "naive", "2q40kv777"),
    ("cache-write", "torch", "q77"),
)
NAMES = {
    "newest key lost",
    "next token's key seen",
    "last page lost",
    "a page of another request",
    "last of 8 splits dropped",
    "softmax scale +5%",
    "values +2%",
    "keys and values of the next KV head",
    "two requests swapped",
    "only the first set launched",
    "results kept from the first call",
    "one row wrong in every third launch",
    "a page exchanged with another set's, in memory",
    "last token not written",
    "data of the next token",
    "slot of -1 written at the end",
    "data kept from the first call",
}


def sampled(machine: Machine) -> Iterator[Trial]:
    """Some faults in kernels of PyTorch, each case with its honest kernel first."""
    import torch

    faults = [fault for fault in FAULTS if fault.name in NAMES]
    for family, backend, batch in CASES:
        case = Case(family, backend, parse_batch_spec(batch), SHAPE, "bf16")
        try:
            with torch.inference_mode():
                prepare = partial(made_ready, case, machine, SETS, SEED)
                yield from list(trials(case, prepare, SEED, faults))
        except WrongResult as wrong:
            yield Trial(case, HONEST, str(wrong), wrong.share)
