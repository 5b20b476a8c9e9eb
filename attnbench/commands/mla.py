"""`attnbench mla`."""

from collections.abc import Sequence
from typing import Any

import click

from attnbench.commands import options
from attnbench.commands.measuring import measure_family
from attnbench.commands.measuring_options import measuring_options
from attnbench.commands.variadic import VariadicCommand
from attnbench.errors import UsageError
from attnbench.running.cases import Asked
from attnbench.specs.shape import MLA_MODELS, mla_shape
from attnbench.specs.sparse import PATTERNS


@click.command("mla", cls=VariadicCommand)
@options.backend_option
@options.batch_option
@click.option(
    "--thresholds",
    multiple=True,
    type=options.positive,
    metavar="N...",
    help="Requests of at most N new tokens take the decode path, the others prefill.",
)
@click.option(
    "--num-splits",
    multiple=True,
    type=options.positive,
    metavar="N...",
    help="Parts that decode splits a request's keys into; of FlashAttention at most.",
)
@click.option(
    "--compare-auto",
    is_flag=True,
    help="With --num-splits, also measure what the backend chooses, and tell its regret.",
)
@click.option(
    "--prefill-backends",
    "--prefill-backend",
    "prefill_backends",
    multiple=True,
    type=click.Choice(["fa2", "fa3", "fa4", "flashinfer", "cudnn", "trtllm", "tokenspeed"]),
    metavar="fa2|fa3|...",
    help="Kernels that vLLM's prefill path must take.  [default: its own choice]",
)
@click.option(
    "--index-topk",
    multiple=True,
    type=options.positive,
    metavar="K...",
    help="Sparse attention: keys that each token selects.  [default: all; 2048 where it must be]",
)
@click.option(
    "--topk-pattern",
    "topk_patterns",
    multiple=True,
    type=click.Choice(PATTERNS),
    metavar="random|window|prefix...",
    help="Which keys those are: any, the last, or the first.  [default: random]",
)
@click.option(
    "--scope",
    type=click.Choice(["kernel", "layer"]),
    help="kernel: the backend's forward; layer: with the W_UK and W_UV products.  "
    "[default: layer where decode meets prefill, else kernel]",
)
@click.option(
    "--model",
    type=click.Choice(list(MLA_MODELS)),
    default="deepseek-v3",
    show_default=True,
    help="Heads and dims of a model; the options below override it.",
)
@click.option("--num-q-heads", type=options.positive, metavar="N")
@click.option("--kv-lora-rank", type=options.positive, metavar="N")
@click.option("--qk-nope-head-dim", type=options.positive, metavar="N")
@click.option("--qk-rope-head-dim", type=options.positive, metavar="N")
@click.option("--v-head-dim", type=options.positive, metavar="N")
@options.tp_option
@options.dtype_option
@options.kv_cache_dtype_option
@options.block_size_option
@options.kv_data_option
@options.page_order_option
@measuring_options
def command(**given: Any) -> None:
    """Benchmark multi-head latent attention (DeepSeek) backends.

    \b
    attnbench mla                                   all that can run here
    attnbench mla --backend flashmla --thresholds 1 4 16
    attnbench mla --backend flashattn_mla --num-splits 1 2 4 8 --compare-auto
    attnbench mla --model deepseek-v3 --tp 8 --batch-specs {1..64:x2}q1kv4k
    """
    dims = ("num_q_heads", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    measure_family(
        given,
        Asked(
            family="mla",
            shape=mla_shape(given["model"], given["tp"], **{dim: given[dim] for dim in dims}),
            backends=given["backends"],
            batches=given["batches"],
            dtypes=given["dtypes"],
            kv_cache_dtypes=given["kv_cache_dtypes"],
            block_sizes=given["block_sizes"],
            scope=given["scope"],
            fields={
                "index_topk": given["index_topk"],
                "topk_pattern": given["topk_patterns"],
                "kv_data": given["kv_data"],
                "page_order": given["page_orders"],
            },
            knobs={
                "threshold": given["thresholds"],
                "num_splits": _splits(given["num_splits"], with_auto=given["compare_auto"]),
                "prefill_backend": given["prefill_backends"],
            },
        ),
    )


def _splits(counts: Sequence[int], *, with_auto: bool) -> Sequence[int | None]:
    if with_auto and not counts:
        raise UsageError(
            "--compare-auto compares a backend's own choice with --num-splits; name some, e.g. "
            "--num-splits 1 2 4 --compare-auto"
        )
    return [*counts, None] if with_auto else counts
