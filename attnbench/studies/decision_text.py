"""A decision as text: the rules, what they gain, and what sets a server to them."""

from attnbench.analysis.contrast import Contrast
from attnbench.analysis.decision import AXES, Decision, DecisionRule
from attnbench.reporting.ranking import change_with_interval
from attnbench.reporting.text_table import WIDTH, Column, items, names, stacked, text_table, wrapped
from attnbench.specs.batch import format_size
from attnbench.studies.decision import Decided
from attnbench.studies.serving import serving
from attnbench.units import MISSING, counted

NOT_IN_VLLM = "not in vLLM"
_LAST = (
    "a running server has one backend: the rules choose it for servers that see such batches alone",
    "borders are geometric means of measured neighbours; beyond the measured, rules extrapolate",
)


def decision_text(found: Decided, width: int = WIDTH) -> str:
    """A part per shape and kind of data, and what the times leave out."""
    parts = [_part(each, width) for each in found.decisions]
    return "\n\n".join([*parts, *(wrapped(note, width) for note in found.notes)])


def _part(decision: Decision, width: int) -> str:
    workload = decision.case.workload.items()
    fields = [f"{name} {value}" for name, value in workload if name not in ("family", "batch")]
    heading = f"{decision.case.family}: {', '.join(fields)}"
    table = text_table(_columns(decision), width=width)
    return "\n\n".join([wrapped(heading, width), table, items(_lines(decision), width=width)])


def _columns(decision: Decision) -> list[Column]:
    rules = decision.rules
    limits = [Column(stacked(n.replace("_", " ")), [_limits(r, n) for r in rules]) for n in AXES]
    return [
        *limits,
        names("choice", [rule.choice.name for rule in rules]),
        Column("batches", [str(len(rule.region.spots)) for rule in rules], optional=True),
        names(f"time against\n{decision.baseline}", [_gain(rule.gain) for rule in rules]),
        names("vLLM", [_option(decision, rule) for rule in rules], spare=True),
    ]


def _limits(rule: DecisionRule, axis: str) -> str:
    low, high = rule.region.limits.get(axis, (None, None))
    if low is None:
        return "any" if high is None else f"to {format_size(high)}"
    return f"{format_size(low)} to {format_size(high)}" if high else f"from {format_size(low)}"


def _gain(gain: Contrast | None) -> str:
    if gain is None:
        return MISSING
    return "the same" if gain.ratio == 1 else change_with_interval(gain)


def _option(decision: Decision, rule: DecisionRule) -> str:
    found = serving(decision.case.family, rule.choice)
    return found.text if found else NOT_IN_VLLM


def _lines(decision: Decision) -> list[str]:
    count, batches = len(decision.rules), len(decision.batches)
    lines = [f"{counted(count, 'rule')} for {counted(batches, 'measured batch', 'es')}"]
    if decision.contested:
        who = "1 batch has" if decision.contested == 1 else f"{decision.contested} batches have"
        lines.append(f"{who} another best, and lengths by which no rule can tell them apart")
    if decision.failing:
        whose = counted(decision.failing, "batch", "es")
        lines.append(f"in {whose} a round of the choice failed; attnbench report shows why")
    found = serving(decision.case.family, decision.single)
    single = f"one for all: {decision.single.name} ({found.text if found else NOT_IN_VLLM})"
    if missing := batches - decision.num_single:
        single += f", which has no time of {missing} of the {batches} batches"
    if count == 1:
        return [*lines, single]
    others = [rule for rule in decision.rules if not serving(decision.case.family, rule.choice)]
    followed = "the rules that vLLM can follow" if found and others else "the rules"
    return [*lines, f"{single}: {_gain(decision.loss)} in time against {followed}", *_LAST]
