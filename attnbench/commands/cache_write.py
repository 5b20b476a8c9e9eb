"""`attnbench cache-write`."""

from typing import Any

import click

from attnbench.commands import options
from attnbench.commands.measuring import measure_family
from attnbench.commands.measuring_options import measuring_options
from attnbench.commands.variadic import VariadicCommand
from attnbench.running.cases import Asked
from attnbench.specs.shape import ATTN_MODELS, attn_shape


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
    "[default: what suits the device]",
)
@click.option(
    "--model",
    type=click.Choice(list(ATTN_MODELS)),
    default="llama3-8b",
    show_default=True,
    help="KV heads and head dim of a model; the options below override it.",
)
@click.option("--num-heads", type=options.positive, metavar="N", help="KV heads.")
@click.option("--head-size", type=options.positive, metavar="N")
@options.tp_option
@options.layout_option
@options.dtype_option
@options.kv_cache_dtype_option
@options.block_size_option
@options.kv_data_option
@options.page_order_option
@measuring_options
def command(**given: Any) -> None:
    """Benchmark writing new keys and values into the paged KV cache.

    Slots are random and unique; what was written is read back and compared.

    \b
    attnbench cache-write                           NHD and HND over a token sweep
    attnbench cache-write --layout HND --mode cudagraph
    attnbench cache-write --num-tokens 1..4k:x4 --kv-cache-dtype auto fp8
    """
    heads = given["num_heads"]
    shape = attn_shape(
        given["model"],
        given["tp"],
        num_q_heads=heads,
        num_kv_heads=heads,
        head_dim=given["head_size"],
    )
    measure_family(
        given,
        Asked(
            family="cache-write",
            shape=shape.for_cache_write(),
            backends=given["backends"],
            batches=given["batches"],
            dtypes=given["dtypes"],
            kv_cache_dtypes=given["kv_cache_dtypes"],
            block_sizes=given["block_sizes"],
            layouts=given["layouts"] or ("NHD", "HND"),
            fields={"kv_data": given["kv_data"], "page_order": given["page_orders"]},
        ),
    )
