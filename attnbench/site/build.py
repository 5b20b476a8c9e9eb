"""Building a site, or bringing it up to date."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnbench.analysis.steps import find_steps
from attnbench.db.lookup import cases_of
from attnbench.db.queries import batched
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.records import Run
from attnbench.reporting.history_text import runs_before_steps
from attnbench.reporting.html.page import require_extra
from attnbench.results.history import History, histories_of
from attnbench.results.noise import Noises
from attnbench.site.case_page import Found, page_name, write_case
from attnbench.site.entry import SiteEntry
from attnbench.site.files import Files
from attnbench.site.gpus import write_gpus
from attnbench.site.names import names_of
from attnbench.site.overview import families, list_name, write_list, write_overview
from attnbench.site.regressions import changes, write_regressions
from attnbench.site.state import FILE, CaseState, SiteState, mark

_AT_ONCE = 20  # cases whose measurements are in memory together


@dataclass(frozen=True, slots=True)
class Built:
    """What a build did."""

    cases: int  # that the site shows
    computed: int  # of these, those of new, changed or deleted runs
    written: int  # files


def build_site(store: Store, folder: Path, margin: float, tree: Path | None) -> Built:
    """Write the site of a database into a folder; only what new runs change is computed.

    `margin` is the relative change that a step must exceed, `tree` has the order of commits.
    Raises UsageError for a folder with other files, and for a database without times.
    """
    require_extra("attnbench site")
    old, runs = SiteState.read(folder, margin), store.runs()
    stale = cases_of(store, old.changed(runs)) | old.orphaned(runs)
    site = _Site(store, Files(folder), margin, tree, {run.number: run for run in runs})
    fresh = {
        key: each for some in batched(sorted(stale), _AT_ONCE) for key, each in site.cases(some)
    }
    kept = {key: each for key, each in old.cases.items() if key not in stale}
    cases = {key: each for key, each in sorted({**kept, **fresh}.items()) if each.entries}
    if not cases:
        raise UsageError("no run has a time yet, so there is nothing to show; measure something")
    new = SiteState(margin, {str(run.number): mark(run) for run in runs}, cases)
    if stale or not old.runs:
        site.lists(new)
    for name in _pages(old) - _pages(new):
        site.files.remove(name)
    site.files.assets()
    site.files.write(FILE, new.text())
    return Built(len(cases), len(stale & cases.keys()), site.files.written)


def _pages(state: SiteState) -> set[str]:
    entries = [entry for each in state.cases.values() for entry in each.entries]
    return {f"case/{entry.page}" for entry in entries} | {
        list_name(entry.gpu, entry.family) for entry in entries
    }


@dataclass(frozen=True, slots=True)
class _Site:
    store: Store
    files: Files
    margin: float
    tree: Path | None
    runs: Mapping[int, Run]

    def cases(self, keys: Sequence[str]) -> Iterable[tuple[str, CaseState]]:
        """Write the pages of some cases."""
        found: dict[str, list[History]] = {key: [] for key in keys}
        noises = Noises(self.store)
        for history in histories_of(self.store, keys, self.runs, noises, self.tree):
            found[history.series.first.case_key].append(history)
        return [(key, self._case(key, listed)) for key, listed in found.items()]

    def _case(self, key: str, listed: Sequence[History]) -> CaseState:
        steps = find_steps([history.track for history in listed], self.margin)
        plans = {
            run.number: self.store.plan(run.number) for run in runs_before_steps(listed, steps)
        }
        pages: dict[str, Found] = defaultdict(list)
        entries = []
        for history, own in zip(listed, steps, strict=True):
            name = page_name(key, history.series.first.machine_name)
            pages[name] = [*pages[name], (history, own)]
            entries.append(SiteEntry.of(history, own, name))
        for name, found in pages.items():
            write_case(self.files, name, found, plans, self.tree)
        numbers = {run.number for each in listed for v in each.versions for run in v.runs}
        return CaseState(sorted(numbers), entries)

    def lists(self, state: SiteState) -> None:
        """Write the pages that show many cases."""
        entries = [entry for each in state.cases.values() for entry in each.entries]
        found = families(entries)
        for (gpu, family), listed in found.items():
            write_list(self.files, gpu, family, listed)
        steps = changes(entries)
        names = names_of(entries)
        write_regressions(self.files, steps, names)
        slower = sum(each.step.ratio > 1 for each in steps)
        write_overview(self.files, found, len(self.runs), slower, names)
        write_gpus(self.files, self.store, list({gpu for gpu, _ in found}))
