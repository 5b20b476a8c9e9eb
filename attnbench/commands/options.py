"""Options that commands share, and the parsing of their values."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import click

from attnbench.errors import UsageError
from attnbench.running.device import check_device_name
from attnbench.specs.batch import Batch, Request
from attnbench.specs.sweep import expand_sweeps, expand_values

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]


def note(text: str) -> None:
    """A remark on stderr, which changes nothing of the result."""
    click.echo(f"note: {text}", err=True)


def parsed(parse: Callable[[Any], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback that turns our errors into Click's, which name the option."""

    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        if value is None or value == ():
            return value
        try:
            return parse(value)
        except UsageError as error:
            raise click.BadParameter(str(error), ctx=ctx, param=param) from None

    return callback


class ChoiceWithAliases(click.Choice[str]):
    """A choice whose values have other names elsewhere, by which they are taken too."""

    def __init__(self, choices: Iterable[str], aliases: Mapping[str, str]) -> None:
        super().__init__(list(choices))
        self._aliases = aliases

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The value by its own name."""
        return super().convert(self._aliases.get(value, value), param, ctx)


def all_of(options: Iterable[Decorator[Any]]) -> Decorator[Any]:
    """One decorator for many options, in the order of the help."""
    listed = list(options)

    def decorate(function: Any) -> Any:
        for option in reversed(listed):
            function = option(function)
        return function

    return decorate


def token_batches(values: Iterable[str]) -> list[Batch]:
    """Each number of tokens as a batch of one request that writes them."""
    return [Batch((Request(count, count),)) for count in whole_numbers(values)]


def whole_numbers(values: Iterable[str]) -> list[int]:
    """All numbers of lists and sweeps such as 1..64k:x4, each once."""
    return list(dict.fromkeys(number for text in values for number in expand_values(text)))


def _batches(values: Iterable[str]) -> list[Batch]:
    return expand_sweeps(values, note)


def positive_seconds(value: float) -> float:
    if value > 0:
        return value
    raise UsageError(f"'{value:g}' is no time limit; accepted are seconds over 0, e.g. 60")


def duration(text: str) -> float:
    """Seconds from a number with its unit, such as 10ms, 500us or 0.5s."""
    sizes = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
    found = re.fullmatch(r"([0-9]*\.?[0-9]+) ?(us|ms|s)", text)
    if found is None or float(found[1]) == 0:
        raise UsageError(
            f"'{text}' is no duration; accepted is a number over 0 with us, ms or s, e.g. 10ms"
        )
    return float(found[1]) * sizes[found[2]]


positive = click.IntRange(min=1)

db_option = click.option(
    "--db",
    envvar="ATTNBENCH_DB",
    default="attnbench.db",
    show_default=True,
    metavar="FILE|URL",
    help="The results database; ATTNBENCH_DB sets it too.",
)

backend_option = click.option(
    "--backend",
    "--backends",
    "backends",
    multiple=True,
    metavar="NAME...",
    help="Backends by name, or all that can run here.  [default: all]",
)

implementation_option = click.option(
    "--implementation",
    "--backend",
    "--backends",
    "backends",
    multiple=True,
    metavar="NAME...",
    help="Implementations by name, or all that can run here.  [default: all]",
)

batch_option = click.option(
    "--batch-specs",
    "--batch-spec",
    "batches",
    multiple=True,
    metavar="SPEC...",
    callback=parsed(_batches),
    help="Batches such as 2q2k_32q1kv1k, or sweeps such as {1..64:x2}q1kv4k.  "
    "[default: what suits the device]",
)

dtype_option = click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    type=ChoiceWithAliases(
        ["bf16", "fp16", "fp32"],
        {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float": "fp32"},
    ),
    metavar="bf16|fp16|fp32...",
    help="Of queries, new keys and values, and output.  [default: bf16 on a GPU, fp32 on a CPU]",
)

kv_cache_dtype_option = click.option(
    "--kv-cache-dtype",
    "kv_cache_dtypes",
    multiple=True,
    type=click.Choice(["auto", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_ds_mla"]),
    metavar="auto|fp8...",
    help="Of the KV cache; auto is --dtype.  [default: auto]",
)

block_size_option = click.option(
    "--block-size",
    "block_sizes",
    multiple=True,
    type=positive,
    metavar="N...",
    help="Tokens a page.  [default: the backend's]",
)

layout_option = click.option(
    "--layout",
    "layouts",
    multiple=True,
    type=click.Choice(["NHD", "HND"]),
    metavar="NHD|HND...",
    help="Order of a page: tokens before heads, or heads before tokens.",
)

kv_data_option = click.option(
    "--kv-data",
    multiple=True,
    type=click.Choice(["random", "zeros"]),
    metavar="random|zeros...",
    help="What the KV cache holds; zeros make a GPU faster than real data.  [default: random]",
)

page_order_option = click.option(
    "--page-order",
    "page_orders",
    multiple=True,
    type=click.Choice(["scattered", "contiguous"]),
    metavar="scattered|contiguous...",
    help="Where a request's pages stand in the cache.  [default: scattered]",
)

tp_option = click.option(
    "--tp", type=positive, default=1, show_default=True, help="Tensor-parallel ranks; one is timed."
)

device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    callback=parsed(check_device_name),
    metavar="auto|cpu|cuda[:N]",
    help="auto is the first GPU, else the CPU.",
)

rounds_option = click.option(
    "--rounds",
    type=positive,
    default=3,
    show_default=True,
    help="Fresh preparations of each case: what verdicts rest on.",
)

samples_option = click.option(
    "--repeats",
    "--iters",
    "--trials",
    "samples",
    type=positive,
    metavar="N",
    help="Exactly N samples a round.  [default: until the median is known to 0.25 %]",
)

timeout_option = click.option(
    "--timeout",
    type=float,
    default=60.0,
    show_default=True,
    callback=parsed(positive_seconds),
    metavar="SECONDS",
    help="For checking and timing one round of a case.",
)

seed_option = click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the inputs.",
)

wait_option = click.option(
    "--wait", is_flag=True, help="Queue behind another attnbench on the same device."
)

html_option = click.option(
    "--html",
    type=click.File("w", encoding="utf-8", lazy=True, atomic=True),
    metavar="FILE",
    help="Also write a page there: one file with tables to sort and filter, and plots.",
)
