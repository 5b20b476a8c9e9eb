"""The attention time of a trace's steps: with one backend for all, and with one for each kind."""

from collections.abc import Mapping, Sequence

from attnbench.analysis.estimate import NoiseOf
from attnbench.analysis.policy import Single, gain, of_kind, singles
from attnbench.analysis.series import Series
from attnbench.reasons import in_short
from attnbench.reporting.ranking import change_with_interval, is_useful
from attnbench.studies.answers.base import Answer, describe, not_answered, varying
from attnbench.studies.answers.service import Service
from attnbench.studies.answers.traffic_tables import charts, kind_shares, tables
from attnbench.studies.traffic import TrafficAnalysis
from attnbench.units import percent, seconds_text

_WORTH: Mapping[str, str] = {
    "faster": "worth having",
    "same": "not worth having, as it is within 1 %",
    "unclear": "these rounds do not show whether that is worth having",
    "slower": "not worth having",
}
_SHOWN = 3  # reasons for missing batches


def answer(listed: Sequence[Series], asked: TrafficAnalysis, noise: NoiseOf) -> Answer:
    """Totals, the best policy and where the time goes, for each workload."""
    if sentence := not_answered(listed):
        return Answer([sentence])
    workloads = [{**each.case.workload, "batch": ""} for each in listed]
    axes = varying((each.case for each in listed), dict.fromkeys(n for w in workloads for n in w))
    axes = [name for name in axes if name != "batch"]
    groups: dict[str, list[Series]] = {}
    for each in listed:
        groups.setdefault(describe(each.case, axes), []).append(each)
    services = [Service.of(title, group, asked) for title, group in groups.items()]
    return Answer(
        [*(line for each in services for line in _lines(each)), _reduction(asked)],
        [table for each in services for table in tables(each, noise)],
        [chart for each in services for chart in charts(each)],
    )


def _lines(service: Service) -> list[str]:
    lines = [*_incomplete(service)]
    if service.ranked:
        lines = [
            _single(service),
            *_no_candidates(service),
            *_automatic(service),
            *_policy(service),
            _where(service),
            *lines,
        ]
    else:
        lines = [*_by_kind_alone(service), *lines]
    return [f"{service.title}: {line}" if service.title else line for line in lines]


def _single(service: Service) -> str:
    best, is_tested = service.ranked[0], _is_tested(service)
    compared = [(each.name, each.comparison) for each in _rivals(service) if each.comparison]
    places: dict[str, list[str]] = {}
    for rival, found in compared:
        place = "unclear" if found.low is None else found.verdict
        places.setdefault(place, []).append(rival)
    name = best.name if len(service.names) > 1 else f"{best.name}, the only one"
    beside = [
        f"{text} {', '.join(places[verdict])}"
        for verdict, text in (("same", "tied with"), ("unclear", "perhaps slower than"))
        if verdict in places and is_tested
    ]
    return f"{_claim(service)}: {', '.join([name, *beside])}: {_total(service, best)}"


def _claim(service: Service) -> str:
    return "best single backend" if _is_tested(service) else "quickest in single rounds"


def _is_tested(service: Service) -> bool:
    """Whether the first is the best, not only the quickest of single rounds.

    One that took less in a single round lost for its others, so the first is not the quickest.
    """
    compared = [each.comparison for each in _rivals(service) if each.comparison]
    return not compared or any(found.low or found.ratio < 1 for found in compared)


def _rivals(service: Service) -> list[Single]:
    """The others that are candidates like the best single one; all if that is none."""
    best, *others = service.ranked
    are_all = best.name not in service.candidates
    return [each for each in others if are_all or each.name in service.candidates]


def _no_candidates(service: Service) -> list[str]:
    """Backends that no server of vLLM runs, against the best single one: none is in a policy."""
    best, rivals = service.ranked[0].name, {each.name for each in _rivals(service)}
    return [
        f"not in vLLM, so not a candidate: {each.name}: {change_with_interval(each.comparison)} "
        f"attention time against {best}"
        for each in service.ranked
        if each.comparison and each.name != best and each.name not in rivals
    ]


def _total(service: Service, single: Single) -> str:
    """The time per million tokens, and per request if those are known."""
    asked = service.asked
    whole = f"{_with_interval(single, 1.0)} of {service.work}"
    text = f"{whole} on each GPU per million {asked.counted}"
    if asked.requests:
        each = asked.tokens / asked.requests / 1e6
        text += f", {_with_interval(single, each)} per request"
    return text


def _with_interval(single: Single, factor: float) -> str:
    text = seconds_text(factor * single.sum.seconds)
    if single.sum.interval is None:
        return f"{text} (one round: no interval)"
    if not is_useful(single.sum.seconds, single.sum.interval[1]):
        return f"{text} (rounds are too different for an interval)"
    low, high = (seconds_text(factor * end) for end in single.sum.interval)
    return f"{text} [{low}, {high}]"


def _automatic(service: Service) -> list[str]:
    """What vLLM's own choice costs against the best single backend."""
    if service.taken is None:
        return []
    name = f"vLLM takes {service.taken} by itself (auto)"
    if (found := service.automatic) is None:
        return [f"{name}, which has no total here"]
    best = service.ranked[0].name
    if found.comparison is None:
        return [f"{name}, the {_claim(service)}" if len(service.ranked) > 1 else name]
    return [f"{name}: {change_with_interval(found.comparison)} attention time against {best}"]


def _policy(service: Service) -> list[str]:
    """The best backend for each kind of step, if that is more than the best single one."""
    single, chosen = service.ranked[0].name, service.chosen
    worth = [each for each in chosen if each.is_worth]
    unclear = [
        f"{each.name} in {each.kind} steps: {change_with_interval(each.comparison)}"
        for each in chosen
        if each.comparison and each.comparison.verdict == "unclear"
    ]
    if len(service.ranked) == len(service.names) == 1:
        return []
    beside = [f"unclear against {single}: {'; '.join(unclear)}"] if unclear else []
    if not worth:
        *others, last = [each.kind for each in chosen]
        kinds = f"{', '.join(others)} or {last}" if others else last
        return [
            f"best by kind of step: {single} for all, as no other is shown to be faster in {kinds} "
            "steps",
            *beside,
        ]
    found = gain(service.parts, single, chosen)
    names = {each.kind: each.name if each.is_worth else single for each in chosen}
    policy = ", ".join(f"{name} for {kind}" for kind, name in names.items())
    change = f"{change_with_interval(found)} attention time against {single} for all"
    return [f"best by kind of step: {policy}: {change}: {_WORTH[found.verdict]}", *beside]


def _where(service: Service) -> str:
    best = service.ranked[0]
    listed = ", ".join(
        f"{kind} {percent(time)} of it in {percent(steps)} of the steps"
        for kind, (time, steps) in kind_shares(service, best).items()
    )
    return f"where the time goes with {best.name}: {listed}"


def _by_kind_alone(service: Service) -> list[str]:
    lines = ["no backend has a time of every batch, so none has a total"]
    for kind in dict.fromkeys(part.kind for part in service.parts):
        if ranked := singles(of_kind(service.parts, kind), service.names, (), service.failing):
            lines.append(f"{kind} steps alone: {ranked[0].name}: {_total(service, ranked[0])}")
    return lines


def _incomplete(service: Service) -> list[str]:
    """A sentence for each backend without a total."""
    complete = {each.name for each in service.ranked}
    return [
        f"{name}: no total: {_reasons(service, name)}"
        for name in service.names
        if name not in complete
    ]


def _reasons(service: Service, name: str) -> str:
    strata, missing = service.asked.strata, service.missing(name)
    if not missing:
        return "its batches share no round with those of the best"
    part = sum(strata[at].steps for at in missing) / sum(each.steps for each in strata)
    found = [service.series[name].get(strata[at].batch) for at in missing]
    failures = [m for each in found if each for m in each.failures]
    reasons = list(dict.fromkeys(in_short(m.outcome.reason) for m in failures))[:_SHOWN]
    kinds = ", ".join(dict.fromkeys(strata[at].kind for at in missing))
    return (
        f"{len(missing)} of {len(strata)} batches ({kinds}; {percent(part)} of the steps) have no "
        f"time: {'; '.join(reasons) or 'not measured'}"
    )


def _reduction(asked: TrafficAnalysis) -> str:
    steps = sum(each.steps for each in asked.strata)
    server = f" of a server on {asked.gpu}" if asked.gpu else ""
    return (
        f"{len(asked.strata)} batches stand for {steps} steps{server}, {asked.layers} layers count "
        f"alike; by rooflines the weighted time is {100 * asked.loss:+z.2f} % off that of all "
        f"steps, and 95 % of random draws would be within ±{100 * asked.margin:.2f} %. The "
        "intervals, which are of rounds alone, do not include this"
    )
