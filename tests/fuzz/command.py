"""The command in this process, and what every end of it must be."""

import re
from collections.abc import Sequence

from click.testing import CliRunner, Result

from attnbench.cli import cli

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u202a-\u202e]")


def run(*words: str) -> Result:
    """A command line's result, ended as every command may end."""
    result = CliRunner().invoke(cli, list(words))
    assert_ended_well(result, words)
    return result


def assert_sentence(message: str) -> None:
    """Words, and not very many."""
    assert len(message.split()) > 2
    assert len(message) < 30_000


def assert_ended_well(result: Result, words: Sequence[str]) -> None:
    """Status 0 to 3, with a sentence for a refusal, and nothing that acts on a terminal."""
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise AssertionError(f"a traceback of {list(words)}") from result.exception
    assert result.exit_code in {0, 1, 2, 3}, list(words)
    if result.exit_code == 2:
        assert re.search(r"Error:", result.output), list(words)
    assert not _CONTROL.search(result.output), list(words)
