"""`attnbench cache-write`."""

from typing import Any

import click

from attnbench.commands import options
from attnbench.commands.measuring import measure_family
from attnbench.commands.measuring_options import measuring_options
from attnbench.commands.variadic import VariadicCommand
from attnbench.reporting.budget import budget_of
from attnbench.running.cases import Asked
from attnbench.specs.shape import ATTN_MODELS, MLA_MODELS, MlaShape, write_shape

PAGE_ORDERS = {"random": "scattered", "contiguous": "contiguous"}


@click.command("cache-write", cls=VariadicCommand)
@click.option(
    "--implementation",
    "--backend",
    "--backends",
    "backends",
    multiple=True,
    metavar="NAME...",
    help="Implementations by name, or all that can run here.  [default: all]",
)
@click.option(
    "--num-tokens",
    "batches",
    multiple=True,
    callback=options.parsed(options.token_batches),
    metavar="N...",
    help="New tokens a call: numbers or sweeps such as 1..64k:x4.  "
    "[default: 1..64k:x2 on a GPU, fewer on a CPU]",
)
@click.option(
    "--kind",
    type=click.Choice(["kv", "mla"]),
    help="Keys and values of heads, or the latents of MLA.  [default: the model's, else kv]",
)
@click.option(
    "--model",
    type=click.Choice([*ATTN_MODELS, *MLA_MODELS]),
    help="KV heads and head dim, or latent, of a model; the options below override it.  "
    "[default: llama3-8b, or deepseek-v3 for mla]",
)
@click.option("--num-heads", type=options.positive, metavar="N", help="KV heads.")
@click.option("--head-size", type=options.positive, metavar="N")
@options.tp_option
@options.layout_option
@options.dtype_option
@options.kv_cache_dtype_option
@options.block_size_option
@click.option(
    "--num-blocks",
    multiple=True,
    type=options.positive,
    metavar="N...",
    help="Pages of the cache.  [default: what the sets need, on a GPU at least 4 times its L2]",
)
@click.option(
    "--slots",
    multiple=True,
    type=click.Choice(list(PAGE_ORDERS)),
    metavar="random|contiguous...",
    help="Where tokens go: anywhere in the cache, as those of a decode do, or one after the other "
    "as those of a prefill.  [default: random]",
)
@options.kv_data_option
@click.option(
    "--itl",
    callback=options.parsed(options.duration),
    metavar="TIME",
    help="Inter-token latency such as 10ms: adds the share of it that the writes of all layers "
    "of --model take.",
)
@measuring_options
def command(**given: Any) -> None:
    """Benchmark writing new keys and values into the paged KV cache.

    Slots are unique; what was written is read back and compared, and the rest of the cache must
    be untouched. Below the table stand conclusions with their intervals.

    \b
    attnbench cache-write                           NHD and HND over a token sweep
    attnbench cache-write --layout HND --mode cudagraph
    attnbench cache-write --num-tokens 1..4k:x4 --kv-cache-dtype auto fp8
    attnbench cache-write --kind mla --kv-cache-dtype auto fp8_ds_mla
    attnbench cache-write --model llama3-70b --tp 8 --itl 10ms
    """
    shape = write_shape(*(given[n] for n in ("kind", "model", "tp", "num_heads", "head_size")))
    measure_family(
        given,
        Asked(
            family="cache-write",
            shape=shape,
            backends=given["backends"],
            batches=given["batches"],
            dtypes=given["dtypes"],
            kv_cache_dtypes=given["kv_cache_dtypes"],
            block_sizes=given["block_sizes"],
            layouts=given["layouts"] or (() if isinstance(shape, MlaShape) else ("NHD", "HND")),
            fields={
                "kv_data": given["kv_data"],
                "page_order": [PAGE_ORDERS[each] for each in given["slots"]],
            },
            knobs={"num_blocks": given["num_blocks"]},
        ),
        budget_of(given["model"], given["itl"]),
    )
