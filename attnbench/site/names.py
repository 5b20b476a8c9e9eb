"""Names of histories that tell apart those of the same backend and batch."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from attnbench.site.entry import SiteEntry
from attnbench.units import MISSING

Names = Mapping[tuple[str, str], str]  # by page and method


def names_of(entries: Sequence[SiteEntry]) -> Names:
    """The backend, the batch, and the values of the fields in which entries of both differ."""
    groups: dict[tuple[str, str, str], list[SiteEntry]] = defaultdict(list)
    for entry in entries:
        groups[entry.gpu, entry.family, entry.title].append(entry)
    return {
        (entry.page, entry.method): ", ".join([entry.title, *_beside(entry, varying(listed))])
        for listed in groups.values()
        for entry in listed
    }


def varying(listed: Sequence[SiteEntry]) -> list[str]:
    """The fields in which the entries differ, then the method."""
    names = dict.fromkeys(name for each in listed for name in each.fields)
    found = [name for name in names if len({value_text(each, name) for each in listed}) > 1]
    return [*found, *(["method"] if len({each.method for each in listed}) > 1 else [])]


def value_text(entry: SiteEntry, name: str) -> str:
    """The value of a field, or the method."""
    return entry.method if name == "method" else str(entry.fields.get(name, MISSING))


def _beside(entry: SiteEntry, names: Sequence[str]) -> list[str]:
    texts = [(name, value_text(entry, name)) for name in names]
    return [text if name == "method" else f"{name} {text}" for name, text in texts]
