"""The best setting of a knob, the loss of leaving it to the backend, and a rule for it."""

from collections import Counter
from collections.abc import Sequence

from attnbench.analysis.axes import axis_text, axis_value
from attnbench.analysis.estimate import NoiseOf
from attnbench.analysis.fields import batch_text
from attnbench.analysis.optimum import Optimum, Rule, optima, propose
from attnbench.analysis.series import Series
from attnbench.reporting.choices import setting_text
from attnbench.reporting.ranking import BESIDE, regret_lines, regret_text
from attnbench.specs.case import Case
from attnbench.studies.analysis import OptimumAnalysis
from attnbench.studies.answers.base import (
    NOT_ANSWERED,
    Answer,
    Table,
    not_answered,
    varying,
)
from attnbench.studies.charts import Chart, Heat
from attnbench.units import MISSING, change_in_percent, counted


def answer(listed: Sequence[Series], asked: OptimumAnalysis, noise: NoiseOf) -> Answer:
    """Sentences per backend, a row per workload, a map of the optimum."""
    lines: list[str] = []
    tables: list[Table] = []
    charts: list[Chart] = []
    for backend in dict.fromkeys(each.case.backend for each in listed):
        own = [each for each in listed if each.case.backend == backend]
        if sentence := not_answered(own, backend):
            lines.append(sentence)
            continue
        found = optima(own, asked.knob, lambda _, cell: noise(cell))
        if not found:
            lines.append(f"{backend}: {NOT_ANSWERED}no workload has two settings with a time")
            continue
        lines += [f"{backend}: {line}" for line in _lines(found, asked)]
        tables.append(_table(backend, found, asked))
        charts += _maps(backend, found, asked)
    return Answer(lines, tables, charts)


def _lines(found: Sequence[Optimum], asked: OptimumAnalysis) -> list[str]:
    tested = [each for each in found if each.ranking.place == "best"]
    single = [each for each in found if each.ranking.place == "quickest"]
    lines = []
    if tested:
        lines.append(f"best {asked.knob} over {counted(len(tested), 'cell')}: {_often(tested)}")
    if single:
        of = f"in single rounds of {counted(len(single), 'cell')}, which show no tie and no regret"
        lines.append(f"quickest {asked.knob} {of}: {_often(single)}")
    regrets = [(each.case, each.regret) for each in found]
    lines += regret_lines(regrets, "the best setting", "auto and the others ran")
    if (rule := propose(found, lambda case: axis_value(case, asked.by))) is not None:
        lines.append(_rule_text(rule, asked))
    return lines


def _often(found: Sequence[Optimum]) -> str:
    counts = Counter(setting_text(each.best) for each in found)
    return ", ".join(f"{setting} in {n}" for setting, n in counts.most_common())


def _rule_text(rule: Rule, asked: OptimumAnalysis) -> str:
    pairs = sorted(rule.settings.items(), key=lambda pair: (str(type(pair[0])), pair[0]))
    texts = ", ".join(f"{value}: {setting_text(setting)}" for value, setting in pairs)
    return (
        f"a rule by {asked.by.replace('_', ' ')} alone ({texts}) takes "
        f"{change_in_percent(rule.ratio)} % of auto's time in the geometric mean, "
        f"{change_in_percent(rule.worst)} % at worst, judged by rounds that did not choose it"
    )


def _table(backend: str, found: Sequence[Optimum], asked: OptimumAnalysis) -> Table:
    cases = [each.case for each in found]
    columns = {"spec": [batch_text(case) for case in cases]}
    for name in _axes(cases):
        columns[name.replace("_", " ")] = [axis_text(case, name) for case in cases]
    columns["best"] = [setting_text(each.best) for each in found]
    for header, place in BESIDE.items():
        listed = [", ".join(map(setting_text, each.at(place))) or MISSING for each in found]
        if {*listed} - {MISSING}:
            columns[header] = listed
    columns["auto's regret"] = [
        regret_text(each.regret) if each.regret else MISSING for each in found
    ]
    return Table(f"{backend}: the best {asked.knob}, and auto's time over its", columns)


def _axes(cases: Sequence[Case]) -> list[str]:
    names = dict.fromkeys(name for case in cases for name in case.canonical())
    return varying(cases, [name for name in names if name not in ("batch", "family", "backend")])


def _maps(backend: str, found: Sequence[Optimum], asked: OptimumAnalysis) -> list[Chart]:
    """The optimum by batch size and length; the colour is auto's regret."""
    groups: dict[str, list[Optimum]] = {}
    for each in found:
        rest = [f"{name} {axis_text(each.case, name)}" for name in _axes([e.case for e in found])]
        groups.setdefault(", ".join(rest), []).append(each)
    return [_map(f"{backend} {title}".strip(), group, asked) for title, group in groups.items()]


def _map(title: str, group: Sequence[Optimum], asked: OptimumAnalysis) -> Heat:
    cases = [each.case for each in group]
    sizes = sorted({len(case.batch) for case in cases})
    lengths = sorted({case.batch.max_kv_len for case in cases})
    named = {case.batch.max_kv_len: axis_text(case, "kv_len") for case in cases}
    cells = {(len(e.case.batch), e.case.batch.max_kv_len): e for e in group}
    found = [[cells.get((size, length)) for length in lengths] for size in sizes]
    return Heat(
        f"Best {asked.knob}: {title}",
        "kv_len",
        "batch_size",
        [named[length] for length in lengths],
        [str(size) for size in sizes],
        [[_best(each) for each in line] for line in found],
        [[_regret(each) for each in line] for line in found],
        "and auto's regret, %",
    )


def _best(found: Optimum | None) -> str:
    if found is None:
        return ""
    if found.regret is None or not found.best:
        return setting_text(found.best)
    loss = f"{change_in_percent(found.regret.ratio)} %"
    words = loss if _is_shown(found) else f"{loss}\nunclear"
    return f"{setting_text(found.best)}\n{words if found.regret.ratio > 1 else 'no loss'}"


def _regret(found: Optimum | None) -> float | None:
    """In percent if outside noise, else 0, so no colour shows what may be noise."""
    if found is None or found.regret is None:
        return None
    return max(0.0, 100 * (found.regret.ratio - 1)) if _is_shown(found) else 0.0


def _is_shown(found: Optimum) -> bool:
    return found.regret is not None and found.regret.verdict in ("slower", "same")
