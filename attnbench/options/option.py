"""An option is a field of a frozen dataclass: its name is what it sets, its type what it holds.

    @dataclass(frozen=True, kw_only=True)
    class Sampling:
        rounds: int = one(Whole(), "--rounds", default=3, heading="Timing", help="...")
        window: tuple[int, ...] = several(Whole(), "--window", heading="Data", help="...")

The command line of a command, `repro`'s words, what a study may be asked to change and the names of
vLLM's benchmark suite are read from these fields.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any, Literal

from attnbench.options.kinds import OptionKind, Text

# The sections of the help, in their order.
Heading = Literal["What", "Shape", "Data", "Timing", "Run", "Output", "Options"]


@dataclass(frozen=True, slots=True)
class Option:
    """All there is to know of one option, its value apart."""

    names: tuple[str, ...]  # as typed; the first stands in messages
    kind: OptionKind
    default: Any  # of several values ()
    help: str = ""
    heading: Heading = "Options"
    metavar: str | None = None
    several: bool = False
    flag: bool = False
    required: bool = False
    show_default: bool = False
    variable: str | None = None  # of the environment, which sets it too
    bare: str | None = None  # the value of the option without one
    knob: bool = False  # of backends, not a field of a case
    suite: tuple[str, ...] = ()  # what vLLM's benchmark suite calls it
    of_one_run: bool = False  # means nothing where a command makes several runs
    free_on_resume: bool = False  # a run may be resumed with another value

    @property
    def name(self) -> str:
        """Its first name without dashes in front."""
        return self.names[0].removeprefix("--")

    def words(self, value: object) -> list[str]:
        """The words that set it to `value`; none for None and False."""
        if value is None or value is False:
            return []
        return [self.names[0]] if value is True else [self.names[0], self.kind.word(value)]


@dataclass(frozen=True, slots=True)
class NamedOption:
    """An option that stands on a command line, by the name that was typed."""

    option: Option
    typed: str
    value: object

    @property
    def plain(self) -> Any:
        """Its value as JSON."""
        if isinstance(self.value, tuple):
            return [_plain(each) for each in self.value]
        return _plain(self.value)


# What a command line names, by field.
Named = Mapping[str, NamedOption]


def stored(named: Named) -> dict[str, object]:
    """JSON of the options that a run must be resumed with, by their names."""
    kept = (each for each in named.values() if not each.option.free_on_resume)
    return {each.option.name.replace("-", "_"): each.plain for each in kept}


def _plain(value: object) -> int | float | str | None:
    return value if isinstance(value, int | float | None) else str(value)


def one(kind: OptionKind, *names: str, default: object = None, **about: Any) -> Any:
    """A field that holds one value; a default that is not None is shown in the help."""
    about = {"show_default": default is not None} | about
    return _field(Option(names, kind, default=default, **about))


def several(kind: OptionKind, *names: str, default: tuple[object, ...] = (), **about: Any) -> Any:
    """A field that holds a tuple of values."""
    return _field(Option(names, kind, default=default, several=True, **about))


def flag(*names: str, **about: Any) -> Any:
    """A field that is True if its option is given."""
    return _field(Option(names, Text(), default=False, flag=True, **about))


def shared(options: type[Any], name: str, heading: Heading | None = None) -> Any:
    """A field with the option that another table has, under another heading if one is named."""
    option = table(options)[name]
    return _field(option if heading is None else replace(option, heading=heading))


def _field(option: Option) -> Any:
    default = MISSING if option.required else option.default
    return field(default=default, metadata={"option": option})


def table(options: type[Any]) -> dict[str, Option]:
    """The options of a dataclass, by field."""
    return {each.name: each.metadata["option"] for each in _with_option(options)}


def _with_option(options: type[Any]) -> Iterator[Field[Any]]:
    return (each for each in fields(options) if "option" in each.metadata)


def words(options: type[Any], values: Mapping[str, object]) -> list[str]:
    """The words of a command line that sets fields of `options` to these values, in their order."""
    known = table(options)
    return [word for name, value in values.items() for word in known[name].words(value)]
