"""Conditions on stored measurements: `--where family=mla backend=flashmla 'kv_len>=4096'`."""

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from attnbench.analysis.series import Series
from attnbench.errors import UsageError
from attnbench.meant import meant
from attnbench.records import Measurement, Run
from attnbench.shorten import few, shorten
from attnbench.specs.batch import BatchSpecError, parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import DIMS

Facts = Mapping[str, object]

_CONDITION = re.compile(r"\s*([\w.]+)\s*(!=|<=|>=|==?|<|>|~)\s*(.*?)\s*", re.DOTALL)
_ORDER: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_SIZE = re.compile(r"(\d+)([km])", re.IGNORECASE)
_SIZES = {"k": 1024, "m": 1024**2}
_COMMIT_DIGITS = 7  # least digits of a shortened commit
_SHOWN = 8  # values of a field in an error


@dataclass(frozen=True, slots=True)
class Condition:
    """`name operator value`; a field that a measurement lacks only meets !=."""

    name: str
    operator: str  # = != < <= > >= or ~, which searches for a regular expression
    value: str

    def __str__(self) -> str:
        return f"{self.name}{self.operator}{self.value}"

    def holds(self, facts: Facts) -> bool:
        """Whether facts meet it; UsageError for a value that its field cannot be compared to."""
        actual = facts.get(self.name)
        if self.operator == "!=":
            return not self._equals(actual)
        if actual is None:
            return False
        if self.operator == "=":
            return self._equals(actual)
        if self.operator == "~":
            return bool(re.search(self.value, _text(actual), re.IGNORECASE))
        return _ORDER[self.operator](self._as_number(actual), self._number())

    def _equals(self, actual: object) -> bool:
        if isinstance(actual, tuple):
            return any(self._equals(each) for each in actual)
        if isinstance(actual, int | float) and not isinstance(actual, bool):
            return actual == self._number()
        text, value = _text(actual).casefold(), self.value.casefold()
        if self.name == "batch":
            return actual is not None and text == _canonical_batch(self)
        if self.name == "commit" and len(value) >= _COMMIT_DIGITS:
            return text.startswith(value)
        return text == value

    def _number(self) -> float:
        """The value as a number; 4k is 4096."""
        if size := _SIZE.fullmatch(self.value):
            return int(size[1]) * _SIZES[size[2].lower()]
        try:
            return float(self.value)
        except ValueError:
            raise UsageError(
                f"--where {self}: {self.name} is a number, e.g. '{self.name}{self.operator}4096' "
                "or 4k"
            ) from None

    def _as_number(self, actual: object) -> float:
        if isinstance(actual, int | float) and not isinstance(actual, bool):
            return actual
        raise UsageError(
            f"--where {self}: {self.operator} orders numbers, and {self.name} is a word; accepted "
            f"for words are = != ~, e.g. {self.name}={_text(actual)}"
        )


def parse_condition(text: str) -> Condition:
    """The condition of a text such as `kv_len>=4096`; UsageError for any other text."""
    found = _CONDITION.fullmatch(text)
    if found is None or not found[3]:
        raise UsageError(
            f"'{shorten(text, 60)}' is not a condition; expected FIELD, one of = != < <= > >= ~, "
            "and a value, e.g. family=mla 'kv_len>=4096' 'backend~flash'"
        )
    condition = Condition(found[1], found[2].replace("==", "="), found[3])
    if condition.operator == "~":
        try:
            re.compile(condition.value)
        except re.error as error:
            raise UsageError(
                f"--where {condition}: not a regular expression ({error}), e.g. 'backend~^flash'"
            ) from None
    return condition


def matching(
    measurements: Iterable[Measurement], runs: Mapping[int, Run], conditions: Sequence[Condition]
) -> list[Measurement]:
    """The measurements that meet all conditions, in order; UsageError for an unknown field."""
    listed = list(measurements)
    if not (conditions and listed):
        return listed
    described = _described(listed, runs)
    check_fields(conditions, {name for facts in described for name in facts})
    return [
        each
        for each, facts in zip(listed, described, strict=True)
        if all(condition.holds(facts) for condition in conditions)
    ]


def values_instead(
    measurements: Sequence[Measurement], runs: Mapping[int, Run], conditions: Sequence[Condition]
) -> str:
    """For an error: a value like one that no measurement has, or all those of its field."""
    described = _described(measurements, runs)
    for condition in conditions:
        if condition.operator != "=" or any(condition.holds(facts) for facts in described):
            continue
        values = (facts.get(condition.name) for facts in described)
        parts = (part for each in values for part in (each if isinstance(each, tuple) else [each]))
        if texts := list(dict.fromkeys(_text(part) for part in parts if part is not None)):
            listed = f" ({condition.name} is {few(texts, _SHOWN)} there)"
            return meant(condition.value, texts) or listed
    return ""


def _described(measurements: Sequence[Measurement], runs: Mapping[int, Run]) -> list[Facts]:
    """All facts of each measurement."""
    cases: dict[str, Facts] = {
        key: case_facts(case) for key, case in {m.case_key: m.case for m in measurements}.items()
    }
    origins = {number: run_facts(run) for number, run in runs.items()}
    return [
        {**cases[m.case_key], **m.outcome.resolved, **origins[m.run], **_outcome_facts(m)}
        for m in measurements
    ]


def check_fields(conditions: Iterable[Condition], known: Iterable[str]) -> None:
    """Raise UsageError, with the list of fields, for a condition on an unknown one."""
    names = sorted({*known, *DIMS})
    for condition in conditions:
        if condition.name not in names:
            raise UsageError(
                f"--where {condition}: no measurement has a field '{condition.name}'"
                f"{meant(condition.name, names)}; the fields are {', '.join(names)}"
            )


def case_facts(case: Case) -> Facts:
    """The request by flat name; q_len and kv_len are the longest of the batch."""
    batch = case.batch
    return {
        **case.fields(),
        "q_len": batch.max_q_len,
        "kv_len": batch.max_kv_len,
        "num_requests": len(batch),
        "num_tokens": batch.num_tokens,
        "num_kv_tokens": batch.num_kv_tokens,
    }


def run_facts(run: Run) -> Facts:
    """The facts of a measurement's run."""
    return {
        "run": run.number,
        "label": run.label,
        "branch": run.branch,
        "commit": run.commit,
        "gpu": run.machine_name,
        "hostname": run.machine["hostname"],
    }


def _outcome_facts(m: Measurement) -> Facts:
    return {
        **m.method,
        "status": str(m.status),
        "labels": m.outcome.labels,
        "round": m.round + 1,
        "cache_state": m.outcome.cache_state,
        "regime": Series((m,)).regime,
        "case": m.case_key,
    }


def _canonical_batch(condition: Condition) -> str:
    try:
        return str(parse_batch_spec(condition.value).in_execution_order())
    except BatchSpecError as error:
        raise UsageError(f"--where {condition}: {error}") from None


def _text(actual: object) -> str:
    if isinstance(actual, tuple):
        return " ".join(map(str, actual))
    return str(actual).lower() if isinstance(actual, bool) else str(actual)
