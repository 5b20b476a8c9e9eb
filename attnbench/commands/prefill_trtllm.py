"""`attnbench prefill-trtllm`."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from attnbench.commands import options
from attnbench.commands.measuring import measure_family
from attnbench.commands.measuring_options import measuring_options
from attnbench.commands.variadic import VariadicCommand
from attnbench.compat.trtllm_csv import write_trtllm_csv
from attnbench.running.cases import Asked
from attnbench.specs.batch import Batch
from attnbench.specs.lengths import DEFAULT_BATCH_SIZES, DEFAULT_MAX_LENS, prompt_batches
from attnbench.specs.quant import QUANTS
from attnbench.specs.shape import ATTN_MODELS, attn_shape


@click.command("prefill-trtllm", cls=VariadicCommand)
@options.implementation_option
@click.option(
    "--batch-sizes",
    multiple=True,
    callback=options.parsed(options.whole_numbers),
    metavar="N...",
    help="Prompts in a batch: numbers or sweeps such as 1..256:x2.  [default: 1 8]",
)
@click.option(
    "--seq-lens",
    multiple=True,
    callback=options.parsed(options.whole_numbers),
    metavar="N...",
    help="Tokens of the longest prompt: 8k, or sweeps such as 1k..128k:x2.  [default: 1k 8k]",
)
@click.option(
    "--lengths",
    type=click.Choice(["random", "fixed"]),
    help="random: one prompt is of the longest length, the others uniform up to it, from --seed.  "
    "[default: random]",
)
@options.batch_option
@click.option(
    "--quant",
    "quants",
    multiple=True,
    type=click.Choice(list(QUANTS)),
    metavar="|".join(QUANTS) + "...",
    help="What q, KV cache and output are stored in.  [default: bf16 on a GPU, fp32 on a CPU]",
)
@click.option(
    "--model",
    type=click.Choice(list(ATTN_MODELS)),
    default="llama3-70b",
    show_default=True,
    help="Heads and head dim of a model; the options below override it.",
)
@click.option("--num-qo-heads", "--num-q-heads", type=options.positive, metavar="N")
@click.option("--num-kv-heads", type=options.positive, metavar="N")
@click.option("--head-size", "--head-dim", type=options.positive, metavar="N")
@options.tp_option
@click.option(
    "--kv-layout",
    "--layout",
    "layouts",
    multiple=True,
    type=click.Choice(["NHD", "HND"]),
    metavar="NHD|HND...",
    help="Order of a page: tokens before heads, or heads before tokens.  [default: HND]",
)
@options.block_size_option
@measuring_options
@click.option(
    "--save-csv",
    is_flag=True,
    help="As --output-csv, into a new file whose name ends in the time.",
)
def command(**given: Any) -> None:
    """Benchmark TRT-LLM's prefill kernels against FlashInfer's, quantised or not.

    Prompts over a paged KV cache. --output-csv has the columns of vLLM's own benchmark, in
    milliseconds.

    \b
    attnbench prefill-trtllm                        what can run here, on a few batches
    attnbench prefill-trtllm --batch-sizes 1 8 --seq-lens 1k 8k --quant bf16 fp8-qkv
    attnbench prefill-trtllm --batch-sizes 1..256:x2 --seq-lens 1k..128k:x2
    attnbench prefill-trtllm --batch-specs 2q2kkv8k --backend fa2 fa3
    """
    asked = Asked(
        family="prefill-trtllm",
        shape=attn_shape(
            given["model"],
            given["tp"],
            num_q_heads=given["num_qo_heads"],
            num_kv_heads=given["num_kv_heads"],
            head_dim=given["head_size"],
        ),
        backends=given["backends"],
        batches=_batches(given),
        block_sizes=given["block_sizes"],
        layouts=given["layouts"],
        variants=[QUANTS[name] for name in given["quants"]] or [{}],
    )
    saved = [_timestamped()] if given["save_csv"] else []
    measure_family(given, asked, as_csv=write_trtllm_csv, more_csv=saved)


def _batches(given: Mapping[str, Any]) -> list[Batch]:
    """Those of both ways to ask, in order, each once; none if neither is used."""
    found: Iterable[Batch] = given["batches"]
    if given["batch_sizes"] or given["seq_lens"] or given["lengths"]:
        prompts = prompt_batches(
            given["batch_sizes"] or DEFAULT_BATCH_SIZES,
            given["seq_lens"] or DEFAULT_MAX_LENS,
            given["lengths"] or "random",
            given["seed"],
        )
        found = [*found, *prompts]
    return list(dict.fromkeys(found))


def _timestamped() -> Path:
    """The name that vLLM's benchmark gives its file."""
    return Path(f"flashinfer_trtllm_benchmark_{datetime.now():%Y%m%d_%H%M%S}.csv")
