"""The command line that measures a stored case again, and nothing else."""

from collections.abc import Mapping

from attnbench.errors import UsageError
from attnbench.specs.case import Case

# Options that are not called as the fields are that they set.
_NAMES = {
    "backend": "--backend",
    "batch": "--batch-specs",
    "threshold": "--thresholds",
    "prefill_backend": "--prefill-backends",
    "timer": "--mode",
    "samples": "--repeats",
    "warmup_calls": "--warmup-iters",
}
_FAMILY_NAMES: Mapping[str, Mapping[str, str]] = {
    "cache-write": {
        "batch": "--num-tokens",
        "num_kv_heads": "--num-heads",
        "head_dim": "--head-size",
    }
}
# Of a method and of a plan, what commands have an option for.
_METHOD = ("timer", "cache", "samples", "warmup_calls", "regime", "isolate", "eager_fallback")
_PLAN = ("rounds", "seed", "num_layers", "profile_memory", "host")


def case_command(case: Case, method: Mapping[str, object], plan: Mapping[str, object]) -> list[str]:
    """The words of the command; `method` and `plan` are facts as stored.

    UsageError for a method that no command has, such as an imported one.
    """
    settable = {name: value for name, value in method.items() if name != "version"}
    if unknown := settable.keys() - set(_METHOD):
        raise UsageError(
            f"no option of `attnbench {case.family}` sets {', '.join(sorted(unknown))}, which it "
            "was measured with"
        )
    asked = {
        **_requested(case),
        **{name: settable[name] for name in _METHOD if name in settable},
        **{name: plan.get(name) for name in _PLAN},
    }
    on_cpu = asked["timer"] == "cpu"
    if on_cpu:
        del asked["timer"]
    words = ["attnbench", case.family]
    for name, value in asked.items():
        words += _option(case.family, name, value)
    return [*words, *(["--device", "cpu"] if on_cpu else [])]


def _requested(case: Case) -> dict[str, object]:
    asked: dict[str, object] = {
        name: value for name, value in case.canonical().items() if name != "family"
    }
    if case.family == "cache-write":
        asked |= {"batch": case.batch.num_tokens}
        del asked["num_q_heads"]  # a write knows no queries
    if case.family == "mla":
        asked["scope"] = case.scope  # its default depends on the backends
    return asked


def _option(family: str, name: str, value: object) -> list[str]:
    if value is None or value is False:
        return []
    usual = _NAMES.get(name, f"--{name.replace('_', '-')}")
    option = _FAMILY_NAMES.get(family, {}).get(name, usual)
    return [option] if value is True else [option, str(value)]
