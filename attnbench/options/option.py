"""An option is a field of a frozen dataclass; name and type of the field are the option's.

    @dataclass(frozen=True, kw_only=True)
    class Sampling:
        rounds: int = one(Whole(), "--rounds", default=3, heading="Timing", help="...")
        window: tuple[int, ...] = several(Whole(), "--window", heading="Data", help="...")

Command lines, `repro`'s words, a study's overrides and the names of vLLM's benchmark suite are read
from these fields.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any, Literal

from attnbench.options.kinds import OptionKind, Text

# The sections of the help, in their order.
Heading = Literal["Selection", "Shape", "Data", "Timing", "Run", "Output", "Options"]


@dataclass(frozen=True, slots=True)
class Option:
    """Everything about an option, except its value."""

    names: tuple[str, ...]  # as typed; messages use the first
    kind: OptionKind
    default: Any  # () for several values
    help: str = ""
    heading: Heading = "Options"
    metavar: str | None = None
    several: bool = False
    flag: bool = False
    required: bool = False
    show_default: bool = False
    variable: str | None = None  # environment variable that sets it too
    bare: str | None = None  # the value of the option given without one
    knob: bool = False  # of a backend, not a field of a case
    suite: tuple[str, ...] = ()  # its names in vLLM's benchmark suite
    of_one_run: bool = False  # does not apply if a command makes several runs
    free_on_resume: bool = False  # a run may be resumed with another value

    @property
    def name(self) -> str:
        """Its first name without leading dashes."""
        return self.names[0].removeprefix("--")

    def words(self, value: object) -> list[str]:
        """The words that set it to `value`; none for None and False."""
        if value is None or value is False:
            return []
        return [self.names[0]] if value is True else [self.names[0], self.kind.word(value)]


@dataclass(frozen=True, slots=True)
class NamedOption:
    """An option given on the command line, with its name as typed."""

    option: Option
    typed: str
    value: object

    @property
    def plain(self) -> Any:
        """Its value as JSON."""
        if isinstance(self.value, tuple):
            return [_plain(each) for each in self.value]
        return _plain(self.value)


# The options named on a command line, by field.
Named = Mapping[str, NamedOption]


def stored(named: Named) -> dict[str, object]:
    """JSON of the options that must stay the same on resume, by name."""
    kept = (each for each in named.values() if not each.option.free_on_resume)
    return {each.option.name.replace("-", "_"): each.plain for each in kept}


def _plain(value: object) -> int | float | str | None:
    return value if isinstance(value, int | float | None) else str(value)


def one(kind: OptionKind, *names: str, default: object = None, **about: Any) -> Any:
    """A field with one value; the help shows a default that is not None."""
    about = {"show_default": default is not None} | about
    return _field(Option(names, kind, default=default, **about))


def several(kind: OptionKind, *names: str, default: tuple[object, ...] = (), **about: Any) -> Any:
    """A field with a tuple of values."""
    return _field(Option(names, kind, default=default, several=True, **about))


def flag(*names: str, **about: Any) -> Any:
    """A field that is True if its option is given."""
    return _field(Option(names, Text(), default=False, flag=True, **about))


def shared(options: type[Any], name: str, heading: Heading | None = None) -> Any:
    """A field with the option of another table, optionally under another heading."""
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
    """Command-line words that set fields of `options` to these values, in their order."""
    known = table(options)
    return [word for name, value in values.items() for word in known[name].words(value)]
