"""Options of all measuring commands: what they plan, short of measuring it."""

from itertools import chain

import click
import pytest
from hypothesis import strategies as st

from attnbench.errors import UsageError
from attnbench.families import FAMILIES
from attnbench.options.option import Option, table
from attnbench.running.measuring import Measuring
from tests.fuzz.command import assert_sentence
from tests.fuzz.inputs import NUMBERS, edited, fuzz, odd_text, typed
from tests.test_options import CPU, plan, words

Line = list[str]


def _value(option: Option) -> st.SearchStrategy[str]:
    """Right values, edited ones, and any."""
    right = [*map(str, words(option))] if not option.flag else ["x"]
    return st.one_of(
        st.sampled_from(right), edited(right, NUMBERS), st.sampled_from(NUMBERS), odd_text()
    ).map(typed)


def _words_of(option: Option) -> st.SearchStrategy[Line]:
    names = st.sampled_from(option.names)
    if option.flag:
        return names.map(lambda name: [name])
    values = st.lists(_value(option), min_size=1, max_size=3 if option.several else 1)
    return st.tuples(names, values).map(lambda both: [both[0], *both[1]])


def _lines(family: str) -> st.SearchStrategy[Line]:
    known = [*table(FAMILIES[family].options).values(), *table(Measuring).values()]
    option = st.one_of([_words_of(each) for each in known])
    return st.lists(option, min_size=1, max_size=3).map(lambda parts: [*chain(*parts)])


@pytest.mark.parametrize("family", FAMILIES)
def test_options_are_planned_or_refused_in_a_sentence(family: str) -> None:
    def check(line: Line) -> None:
        try:
            found = plan(family, *line, machine=CPU)
        except (UsageError, click.UsageError, click.FileError) as error:
            message = error.format_message() if isinstance(error, click.ClickException) else error
            assert_sentence(str(message))
        else:
            assert all(each.key for each in found.cases[:10])

    fuzz(_lines(family), check, 450)
