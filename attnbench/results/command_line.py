"""The command line that measures exactly a stored case again."""

from collections.abc import Mapping

from attnbench.errors import UsageError
from attnbench.families import family_of
from attnbench.families.options import OWN_LENGTHS
from attnbench.kernels.registry import find
from attnbench.options.option import words
from attnbench.running.between import auto
from attnbench.running.measuring import Measuring
from attnbench.specs.case import Case
from attnbench.timing.method import VERSIONS

# The facts of a method and a plan that options set.
_METHOD = ("timer", "cache", "samples", "warmup_calls", "regime", "isolate", "eager_fallback")
_PLAN = ("rounds", "seed", "num_layers", "profile_memory", "host")


def case_command(case: Case, method: Mapping[str, object], plan: Mapping[str, object]) -> list[str]:
    """The words of the command; `method` and `plan` are facts as stored.

    Raises UsageError for a case or a method that no command can measure, such as an imported one.
    """
    settable = {name: value for name, value in method.items() if name not in VERSIONS}
    if unknown := settable.keys() - {*_METHOD, "between"}:
        raise UsageError(
            f"no option of `attnbench {case.family}` sets {', '.join(sorted(unknown))} as in the "
            "measurement"
        )
    asked = {name: settable[name] for name in _METHOD if name in settable}
    asked |= _between(case, settable)
    asked |= {name: plan.get(name) for name in _PLAN}
    if asked["timer"] == "cpu":
        del asked["timer"]
        asked["device"] = "cpu"
    bare = ["--max-model-len", OWN_LENGTHS] if _is_bare(case) else []
    return [
        "attnbench",
        case.family,
        *family_of(case).words(case),
        *bare,
        *words(Measuring, asked),
    ]


def _between(case: Case, method: Mapping[str, object]) -> dict[str, object]:
    """What stands between calls, if it is not what a command puts there by itself."""
    asked = method.get("between", "nothing")
    alone = method["timer"] == "cudagraph" and method["cache"] == "cold"
    usual = "layer" if alone and auto(case) else "nothing"
    return {} if asked in ("auto", usual) else {"between": asked}


def _is_bare(case: Case) -> bool:
    """Whether the backend has server knobs that the case leaves out."""
    try:
        knobs = find(case.family, case.backend).knobs
    except UsageError:  # a backend of another version of attnbench
        return False
    return "max_model_len" in knobs and case.knob("max_model_len") is None
