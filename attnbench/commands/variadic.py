"""Options that take several values after one name: `--thresholds 1 4 16`."""

import click


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
        return super().parse_args(ctx, repeated(args, variadic))


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
