"""Options that take several values after one name: `--thresholds 1 4 16`."""

import click
from click.shell_completion import CompletionItem

_WORDS = "attnbench.words"  # of the command line that is parsed, in the context


class VariadicCommand(click.Command):
    """A command whose `multiple=True` options take space-separated values.

    Click refuses options of any length, so the option's name is repeated before each value and
    Click parses the result: `--n 1 4` becomes `--n 1 --n 4`.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        variadic = {
            name
            for parameter in self.params
            if isinstance(parameter, click.Option) and parameter.multiple
            for name in parameter.opts
        }
        ctx.meta[_WORDS] = list(args)
        try:
            args = repeated(args, variadic)
        except click.UsageError:
            if not ctx.resilient_parsing:  # a line that a shell completes may be wrong
                raise
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the second and later values of an option too."""
        words = ctx.meta.get(_WORDS, [])
        last = next((word for word in reversed(words) if _is_option(word)), None)
        for parameter in self.params:
            if last in parameter.opts and parameter.multiple and not incomplete.startswith("-"):
                return parameter.shell_complete(ctx, incomplete)
        return super().shell_complete(ctx, incomplete)


def repeated(args: list[str], variadic: set[str]) -> list[str]:
    """`args` with a variadic option's name before each of its values.

    >>> repeated(["--n", "1", "4", "--flag", "--n=7", "8"], {"--n"})
    ['--n', '1', '--n', '4', '--flag', '--n=7', '--n', '8']
    """
    found: list[str] = []
    option = None  # whose values are being read
    for position, arg in enumerate(args):
        if arg == "--":
            return found + args[position:]
        if arg.partition("=")[0] in variadic:
            option = arg.partition("=")[0]
        elif option and _is_option(arg):
            if found[-1] == option:
                raise click.BadOptionUsage(option, f"Option '{option}' requires an argument.")
            option = None
        elif option and found[-1] != option:
            found.append(option)
        found.append(arg)
    return found


def _is_option(arg: str) -> bool:
    """Whether it starts with a dash and is not a negative number."""
    try:
        float(arg)
    except ValueError:
        return arg.startswith("-")
    return False
