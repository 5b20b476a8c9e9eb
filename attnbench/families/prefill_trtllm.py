"""Prefill of whole prompts: TRT-LLM's kernels against FlashInfer's, quantised or not."""

from attnbench.families.family import Family, Together
from attnbench.specs.cost import attention_cost
from attnbench.specs.quant import QUANTS, quant_of
from attnbench.specs.shape import ATTN_MODELS

# The backends that the others are compared with: FlashInfer's wrapper with the kernel that it
# chooses itself, fa3 where that runs, else fa2.
BASELINES = ("fa3", "fa2", "cudnn")

PREFILL_TRTLLM = Family(
    name="prefill-trtllm",
    shape=ATTN_MODELS["llama3-70b"],
    cost=attention_cost,
    batches={"cuda": "q1k 8q1k q8k 8q8k", "cpu": "q128 4q128"},
    # Kernels against the baseline of the same dtypes, then dtypes within each kernel.
    contrasted={"backend": BASELINES, "quant": "bf16", "layout": "HND", "block_size": None},
    together=Together("quant", QUANTS, quant_of),
)
