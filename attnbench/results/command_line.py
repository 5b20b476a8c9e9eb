"""The command line that measures a stored case again, and nothing else."""

from collections.abc import Mapping
from dataclasses import asdict

from attnbench.errors import UsageError
from attnbench.specs.case import Case
from attnbench.specs.quant import QUANTS, quant_of
from attnbench.specs.shape import MLA_MODELS, AttnShape, MlaShape

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
        "page_order": "--slots",
    }
}
# The fields that one name of a quantisation sets together.
_QUANTISED = ("dtype", "query_dtype", "kv_cache_dtype", "output_dtype")
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
        return _of_a_write(case, asked)
    if case.family == "prefill-trtllm":
        quant = quant_of(case)
        rest = {name: value for name, value in asked.items() if name not in _QUANTISED}
        return rest | {"quant": quant if quant in QUANTS else None}
    if case.family == "mla":
        asked["scope"] = case.scope  # its default depends on the backends
    return asked


def _of_a_write(case: Case, asked: Mapping[str, object]) -> dict[str, object]:
    """Latents are those of a model, and a write of keys and values knows no queries."""
    dims = ("num_q_heads",) if isinstance(case.shape, AttnShape) else tuple(asdict(case.shape))
    rest = {name: value for name, value in asked.items() if name not in dims}
    model = None
    if isinstance(case.shape, MlaShape):
        known = (
            name for name, shape in MLA_MODELS.items() if shape.for_cache_write() == case.shape
        )
        model = next(known, None)
        if model is None:
            raise UsageError(f"no model of `attnbench cache-write` has the latents of {case.shape}")
    return {**rest, "batch": case.batch.num_tokens, "model": model}


def _option(family: str, name: str, value: object) -> list[str]:
    if value is None or value is False:
        return []
    usual = _NAMES.get(name, f"--{name.replace('_', '-')}")
    option = _FAMILY_NAMES.get(family, {}).get(name, usual)
    return [option] if value is True else [option, str(value)]
