"""Prefill of whole prompts: TRT-LLM's kernels against FlashInfer's, quantised or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import get_args

from attnbench.families.family import Family, Together
from attnbench.families.options import Common, FamilyOptions, whole_numbers
from attnbench.options.kinds import Listed, Text, Whole, one_of
from attnbench.options.option import flag, one, several, shared
from attnbench.specs.batch import Batch
from attnbench.specs.case import Layout
from attnbench.specs.cost import attention_cost
from attnbench.specs.lengths import DEFAULT_BATCH_SIZES, DEFAULT_MAX_LENS, prompt_batches
from attnbench.specs.models import ATTN_MODELS
from attnbench.specs.quant import QUANTS, quant_of
from attnbench.specs.shape import AttnShape
from attnbench.specs.sweep import expand_sweeps

# The baselines of the comparison, in FlashInfer's own order of preference: fa3 where it
# runs, else fa2.
BASELINES = ("fa3", "fa2", "cudnn")


@dataclass(frozen=True, kw_only=True)
class PrefillOptions(FamilyOptions):
    """The options of `attnbench prefill-trtllm` that say what is measured."""

    backend: tuple[str, ...] = several(
        Text(),
        "--implementation",
        "--backend",
        "--backends",
        metavar="NAME...",
        heading="Selection",
        help="Implementations by name, or all that can run here.  [default: all]",
    )
    batch: tuple[Batch, ...] = several(
        Listed(expand_sweeps),
        "--batch-specs",
        "--batch-spec",
        metavar="SPEC...",
        heading="Selection",
        help="Batches of prompts such as 8q1k, beside those of the options below if one is given.",
    )
    batch_size: tuple[int, ...] = several(
        Listed(whole_numbers),
        "--batch-sizes",
        metavar="N...",
        heading="Selection",
        help="Prompts in a batch: numbers or sweeps such as 1..256:x2.  [default: 1 8]",
    )
    q_len: tuple[int, ...] = several(
        Listed(whole_numbers),
        "--seq-lens",
        metavar="N...",
        heading="Selection",
        help="Tokens of the longest prompt: 8k, or sweeps such as 1k..128k:x2.  [default: 1k 8k]",
    )
    lengths: str | None = one(
        one_of("random", "fixed"),
        "--lengths",
        heading="Selection",
        help="random: one prompt has the longest length, the others are uniform up to it, by "
        "--seed.  [default: random]",
    )
    quant: tuple[str, ...] = several(
        one_of(*QUANTS),
        "--quant",
        metavar="|".join(QUANTS) + "...",
        heading="Data",
        help="Data types of q, KV cache and output.  [default: bf16 on a GPU, fp32 on a CPU]",
    )
    model: str = one(
        one_of(*ATTN_MODELS),
        "--model",
        default="llama3-70b",
        metavar="NAME",
        heading="Shape",
        help=f"Heads and head dim of {', '.join(ATTN_MODELS)}; the options below override it.",
    )
    num_q_heads: int | None = one(
        Whole(), "--num-qo-heads", "--num-q-heads", metavar="N", heading="Shape"
    )
    num_kv_heads: int | None = one(Whole(), "--num-kv-heads", metavar="N", heading="Shape")
    head_dim: int | None = one(Whole(), "--head-size", "--head-dim", metavar="N", heading="Shape")
    tp: int = shared(Common, "tp")
    layout: tuple[Layout, ...] = several(
        one_of(*get_args(Layout)),
        "--kv-layout",
        "--layout",
        metavar="NHD|HND...",
        heading="Data",
        help="Order of a page: tokens before heads, or heads before tokens.  [default: HND]",
    )
    block_size: tuple[int, ...] = shared(Common, "block_size")
    save_csv: bool = flag(
        "--save-csv",
        heading="Output",
        of_one_run=True,
        free_on_resume=True,
        help="Like --output-csv, to a new file whose name ends in the time.",
    )

    def shape(self) -> AttnShape:
        """The model's shape, with the given dims."""
        dims = {n: getattr(self, n) for n in ("num_q_heads", "num_kv_heads", "head_dim")}
        return ATTN_MODELS[self.model].sharded(self.tp, **dims)

    def batches(self, seed: int) -> Sequence[Batch]:
        """The batches of both ways to ask, each once; none if neither is used."""
        if not (self.batch_size or self.q_len or self.lengths):
            return self.batch
        prompts = prompt_batches(
            self.batch_size or DEFAULT_BATCH_SIZES,
            self.q_len or DEFAULT_MAX_LENS,
            self.lengths or "random",
            seed,
        )
        return list(dict.fromkeys([*self.batch, *prompts]))

    def more_csv(self) -> Sequence[Path]:
        """The file that vLLM's benchmark would write, with --save-csv."""
        name = f"flashinfer_trtllm_benchmark_{datetime.now():%Y%m%d_%H%M%S}.csv"
        return [Path(name)] if self.save_csv else []


PREFILL_TRTLLM = Family(
    name="prefill-trtllm",
    help="""Benchmark TRT-LLM's prefill kernels against FlashInfer's, quantised or not.

    Prompts over a paged KV cache. --output-csv has the columns of vLLM's own benchmark, in
    milliseconds.

    \b
    attnbench prefill-trtllm                        all that can run here
    attnbench prefill-trtllm --batch-sizes 1 8 --seq-lens 8k --quant bf16 fp8-qkv
    attnbench prefill-trtllm --batch-sizes 1..256:x2 --seq-lens 1k..128k:x2
    attnbench prefill-trtllm --batch-specs 2q2kkv8k --backend fa2 fa3
    """,
    options=PrefillOptions,
    cost=attention_cost,
    batches={"cuda": "q1k 8q1k q8k 8q8k", "cpu": "q128 4q128"},
    # Kernels against the baseline of the same dtypes, then dtypes within each kernel.
    contrasted={"backend": BASELINES, "quant": "bf16", "layout": "HND", "block_size": None},
    together=Together("quant", QUANTS, quant_of),
    csv_columns="trtllm",
)
