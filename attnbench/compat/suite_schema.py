"""The kinds of values in a config of vLLM's benchmark suite, checked before it is read."""

from collections.abc import Callable, Mapping
from typing import Any

from attnbench.errors import UsageError
from attnbench.studies.yaml_entry import plain_yaml

Check = Callable[[object], bool]


def read_config(text: str, file: str) -> dict[str, Any]:
    """The config as YAML has it; UsageError for a value of another kind than its key's."""
    config = plain_yaml(text, file)
    if not (isinstance(config, dict) and all(isinstance(key, str) for key in config)):
        raise UsageError(f"{file}: expected keys such as backends and batch_specs")
    for key, value in config.items():
        expected, check = _KINDS.get(key, ("", _is_anything))
        if value is not None and not check(value):
            raise UsageError(f"{file}: {key}: expected {expected}")
    return config


def _is_anything(_: object) -> bool:
    return True


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _keys(**checks: Check) -> Check:
    """A check of a mapping that must have these keys."""
    return lambda value: (
        isinstance(value, dict) and all(check(value.get(key)) for key, check in checks.items())
    )


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float)


def _is_range(value: object) -> bool:
    """A template, and variables with their values or the bounds of a range."""
    if not (isinstance(value, dict) and _is_mapping(value)):
        return False
    ranges = [each for each in value.values() if isinstance(each, dict)]
    bounds = _keys(start=_is_number, stop=_is_number)
    return all(bounds(each) and _is_number(each.get("step", 1)) for each in ranges)


def _is_model_sweep(value: object) -> bool:
    """Sets of dims, or the values of one that is named."""
    sets, values = _keys(values=_list_of(_is_mapping)), _list_of(_is_scalar)
    return sets(value) or _keys(param_name=_is_text, values=values)(value)


_TEXTS = ("a list of texts, e.g. [q2k, 8q1s1k]", _list_of(_is_text))
_NUMBERS = ("a list of whole numbers, e.g. [1, 2, 4]", _list_of(_is_number))
_NAMES = ("a name or a list of names", lambda value: _is_text(value) or _list_of(_is_text)(value))
_KINDS: Mapping[str, tuple[str, Check]] = {
    "description": ("a text", _is_scalar),
    "mode": ("a text", _is_text),
    "backend": _NAMES,
    "backends": _NAMES,
    "decode_backends": _NAMES,
    "prefill_backends": _TEXTS,
    "kv_cache_dtype": ("a text", _is_text),
    "sparse_mla_topk_pattern": ("a text", _is_text),
    "sparse_mla_mha_variants": _TEXTS,
    "sparse_mla_dense_mha_max_seq_len": ("a whole number", _is_number),
    "sparse_mla_masked_mha_max_seq_len": ("a whole number", _is_number),
    "batch_specs": _TEXTS,
    "batch_sizes": _NUMBERS,
    "num_splits": _NUMBERS,
    "reorder_batch_thresholds": _NUMBERS,
    "model": ("keys such as num_q_heads", _is_mapping),
    "batch_spec_ranges": (
        "a list of templates with ranges, e.g. - {template: 'q{n}', n: {start: 1, stop: 4}}",
        _list_of(_is_range),
    ),
    "parameter_sweep": (
        "the keys param_name and values, a list",
        _keys(param_name=_is_text, values=_list_of(_is_scalar)),
    ),
    "model_parameter_sweep": (
        "the key values, a list of dims, or of numbers beside param_name",
        _is_model_sweep,
    ),
}
