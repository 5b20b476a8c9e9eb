"""Values after one option name, by Click's own parser."""

import doctest

import click
import pytest
from click.testing import CliRunner

from attnbench.commands import variadic
from attnbench.commands.variadic import VariadicCommand


@click.command(cls=VariadicCommand)
@click.option("-t", "--thresholds", multiple=True, type=int, envvar="THRESHOLDS")
@click.option("--layout", multiple=True, type=click.Choice(["NHD", "HND"]))
@click.option("--flag", is_flag=True)
@click.argument("rest", nargs=-1)
def command(**given: object) -> None:
    click.echo("{thresholds} {layout} {flag} {rest}".format(**given))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--thresholds 1 4 16", "(1, 4, 16) () False ()"),
        ("--thresholds 1 --thresholds 4", "(1, 4) () False ()"),
        ("--thresholds=1 4 --flag", "(1, 4) () True ()"),
        ("-t 1 4", "(1, 4) () False ()"),
        ("--thresholds -1 4", "(-1, 4) () False ()"),
        ("--thresholds 1 --layout NHD HND --flag", "(1,) ('NHD', 'HND') True ()"),
        ("--thresholds 1 -- 4", "(1,) () False ('4',)"),
        ("--flag", "() () True ()"),
    ],
)
def test_values_follow_one_name(line: str, expected: str) -> None:
    result = CliRunner().invoke(command, line.split())
    assert result.output.strip() == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--thresholds", "Option '--thresholds' requires an argument."),
        ("--thresholds --flag", "Option '--thresholds' requires an argument."),
        ("--thresholds 1 x", "'--thresholds': 'x' is not a valid integer."),
        ("--layout NHD XYZ", "Invalid value for '--layout': 'XYZ' is not one of 'NHD', 'HND'."),
    ],
)
def test_errors_are_clicks_own(line: str, message: str) -> None:
    result = CliRunner().invoke(command, line.split())
    assert result.exit_code == 2
    assert message in result.output


def test_the_environment_gives_several_values_too() -> None:
    result = CliRunner().invoke(command, [], env={"THRESHOLDS": "1 4"})
    assert result.output.startswith("(1, 4)")


def test_the_docstring_is_true() -> None:
    assert doctest.testmod(variadic).failed == 0
