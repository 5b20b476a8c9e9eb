"""`attnbench attn`."""

from typing import Any

import click

from attnbench.commands import options
from attnbench.commands.measuring import measure_family
from attnbench.commands.measuring_options import measuring_options
from attnbench.commands.variadic import VariadicCommand
from attnbench.running.cases import Asked
from attnbench.specs.shape import ATTN_MODELS, attn_shape


@click.command("attn", cls=VariadicCommand)
@options.backend_option
@options.batch_option
@click.option(
    "--model",
    type=click.Choice(list(ATTN_MODELS)),
    default="llama3-8b",
    show_default=True,
    help="Heads and head dim of a model; the options below override it.",
)
@click.option("--num-q-heads", type=options.positive, metavar="N")
@click.option("--num-kv-heads", type=options.positive, metavar="N")
@click.option("--head-dim", type=options.positive, metavar="N")
@options.tp_option
@options.dtype_option
@options.kv_cache_dtype_option
@options.block_size_option
@options.layout_option
@options.kv_data_option
@options.page_order_option
@click.option(
    "--window",
    "windows",
    multiple=True,
    type=options.positive,
    metavar="N...",
    help="Sliding window: a query sees its last N keys.  [default: all]",
)
@click.option(
    "--softcap",
    "softcaps",
    multiple=True,
    type=click.FloatRange(min=0, min_open=True),
    metavar="C...",
    help="Cap scores to C * tanh(scores / C).  [default: none]",
)
@click.option("--sinks", is_flag=True, help="A learned sink logit for each query head.")
@click.option(
    "--sdpa-backend",
    "sdpa_backends",
    multiple=True,
    type=click.Choice(["cudnn", "flash", "efficient", "math"]),
    metavar="cudnn|flash|...",
    help="Kernel that PyTorch's SDPA must take.  [default: its own choice]",
)
@click.option(
    "--flash-version",
    "flash_versions",
    multiple=True,
    type=click.Choice([2, 3, 4]),
    metavar="2|3|4...",
    help="FlashAttention that vLLM must take.  [default: its own choice]",
)
@click.option(
    "--num-splits",
    multiple=True,
    type=options.positive,
    metavar="N...",
    help="Most parts that FlashAttention 3 may split a decode's keys into.  [default: vLLM's]",
)
@click.option(
    "--scope",
    type=click.Choice(["kernel", "layer"]),
    help="layer adds the write of the new keys and values to the cache.  [default: kernel]",
)
@measuring_options
def command(**given: Any) -> None:
    """Benchmark attention backends over batch specs.

    \b
    attnbench attn                                  all that can run here
    attnbench attn --batch-specs q2k 8q1kv1k        chosen batches
    attnbench attn --backend sdpa --sdpa-backend cudnn flash
    """
    measure_family(
        given,
        Asked(
            family="attn",
            shape=attn_shape(
                given["model"],
                given["tp"],
                num_q_heads=given["num_q_heads"],
                num_kv_heads=given["num_kv_heads"],
                head_dim=given["head_dim"],
            ),
            backends=given["backends"],
            batches=given["batches"],
            dtypes=given["dtypes"],
            kv_cache_dtypes=given["kv_cache_dtypes"],
            block_sizes=given["block_sizes"],
            layouts=given["layouts"],
            fields={
                "window": given["windows"],
                "softcap": given["softcaps"],
                "sinks": [True] if given["sinks"] else [],
                "kv_data": given["kv_data"],
                "page_order": given["page_orders"],
            },
            scope=given["scope"],
            knobs={
                "sdpa_backend": given["sdpa_backends"],
                "flash_version": given["flash_versions"],
                "num_splits": given["num_splits"],
            },
        ),
    )
