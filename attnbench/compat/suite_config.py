"""Configs of vLLM's attention benchmarks, turned into studies, with a list of dropped keys."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import yaml

from attnbench.errors import UsageError
from attnbench.families import FAMILIES, SUITE_KNOBS
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.sparse import PATTERN_ALIASES

# Names that differ in more than upper and lower case.
_BACKENDS = {
    "flash_attn": "flash",
    "triton_attn": "triton",
    "flex_attention": "flex",
    "flash_attn_mla": "flashattn_mla",
    "flash_attn_mla_sparse": "flashattn_mla_sparse",
}
# Why a key is dropped; others have no counterpart here.
_WHY = {
    "num_layers": "working sets are chosen to keep the cache cold; --num-layers sets their number",
    "block_size": "each backend has its own; --block-size sets another",
    "repeats": "sampling ends when the median is certain; --repeats sets the number",
    "warmup_iters": "warm-up ends when times are steady; --warmup-iters sets the minimum",
    "warmup_ms": "warm-up ends when times are steady",
    "device": "--device sets it",
    "profile_memory": "--profile-memory enables it",
    "cuda_graphs": "--mode chooses the timer",
    "output": "every round is stored; --output-csv and --output-json write files",
    "benchmark": "its settings are command-line options",
    "head_dim": "for MLA it follows from the rank and the RoPE dims",
    "num_kv_heads": "MLA has one latent head",
    "max_model_len": "--max-model-len names a server's; the suite gives kernels the batch's own",
    "name": "the file has the dims",
}
_UNKNOWN = "it has no counterpart here"


def imported(text: str, file: str) -> tuple[str, list[str]]:
    """The text of a study and, for each dropped key, a sentence why.

    Raises UsageError for a text that is not such a config.
    """
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{file}: this is not YAML: {error}") from None
    if not isinstance(config, dict):
        raise UsageError(f"{file}: expected keys such as backends and batch_specs")
    return _Reader(config, file).study()


class _Reader:
    """Takes keys out of a config; the rest is dropped at the end."""

    def __init__(self, config: dict[str, Any], file: str) -> None:
        self._config, self._file = dict(config), file
        self._model = dict(self._config.pop("model", None) or {})
        self.dropped: list[str] = []

    def study(self) -> tuple[str, list[str]]:
        """The study's text, and the dropped keys."""
        question = self._config.pop("description", None) or f"What {self._file} measures."
        mode = self._config.pop("mode", None)
        backends = self._backends()
        family = "mla" if self._is_mla(backends, mode) else "attn"
        common = self._dims(family) | {"backend": backends} | self._fields()
        knobs = self._knobs()
        answer: dict[str, Any] = {"winner": {}}
        if mode == "decode_vs_prefill":
            answer = {"crossover": {}}
            common["scope"] = "layer"
        elif mode is not None:
            self._drop(f"mode: {mode}", "its comparison has no counterpart here")
        elif len(knobs) == 1 and "prefill_backend" not in knobs:
            answer = {"optimum": {"knob": next(iter(knobs))}}
        products = [
            {**common, **batches, **varied, **({"knobs": knobs} if knobs else {})}
            for varied in self._model_sweep()
            for batches in self._batches()
        ]
        self._drop_rest()
        study = {"question": question, "family": family, "answer": answer, "sweep": products}
        return yaml.safe_dump(study, sort_keys=False, width=98), self.dropped

    def _backends(self) -> list[str]:
        for key in ("backends", "decode_backends", "backend"):
            if found := self._config.pop(key, None):
                listed = [found] if isinstance(found, str) else found
                names = [str(name).lower() for name in listed]
                return [_BACKENDS.get(name, name) for name in names]
        raise UsageError(f"{self._file}: the key backends is missing")

    def _is_mla(self, backends: Sequence[str], mode: str | None) -> bool:
        named = any("mla" in name for name in backends)
        return named or mode is not None or "kv_lora_rank" in self._model

    def _dims(self, family: str) -> dict[str, Any]:
        wanted = [dim.name for dim in fields(FAMILIES[family].options().shape())]
        found = {name: self._model.pop(name) for name in wanted if name in self._model}
        for name in list(self._model):
            self._drop(f"model.{name}", _WHY.get(name, _UNKNOWN))
        return found

    def _fields(self) -> dict[str, Any]:
        found = {}
        if (dtype := self._config.pop("kv_cache_dtype", "auto")) != "auto":
            found["kv_cache_dtype"] = dtype
        if pattern := self._config.pop("sparse_mla_topk_pattern", None):
            found["topk_pattern"] = PATTERN_ALIASES.get(pattern, pattern)
        return found

    def _knobs(self) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        if backends := self._config.pop("prefill_backends", None):
            found["prefill_backend"] = list(backends)
        if thresholds := self._config.pop("reorder_batch_thresholds", None):
            found["threshold"] = list(thresholds)
        sweep = self._config.pop("parameter_sweep", None)
        if sweep and sweep.get("param_name") in SUITE_KNOBS:
            auto = ["auto"] if sweep.get("include_auto") else []
            found[SUITE_KNOBS[sweep["param_name"]]] = [*auto, *sweep["values"]]
        elif sweep:
            self._drop(f"parameter_sweep: {sweep.get('param_name')}", _UNKNOWN)
        return found

    def _model_sweep(self) -> list[dict[str, Any]]:
        """Alternative fields: one product with all values, or one per set of values."""
        sweep = self._config.pop("model_parameter_sweep", None)
        if not sweep:
            return [{}]
        values = sweep["values"]
        if all(isinstance(value, dict) for value in values):
            return [dict(value) for value in values]
        return [{str(sweep["param_name"]): list(values)}]

    def _batches(self) -> list[dict[str, Any]]:
        specs = self._config.pop("batch_specs", None) or []
        ranges = self._config.pop("batch_spec_ranges", None) or []
        sizes = self._config.pop("batch_sizes", None)
        found: list[dict[str, Any]] = []
        if specs and sizes:
            found.append(
                {
                    "batch": [f"{{batch_size}}{_spelled(text)}" for text in specs],
                    "batch_size": sizes,
                }
            )
        elif specs:
            found.append({"batch": list(dict.fromkeys(map(_spelled, specs)))})
        for each in ranges:
            found.append(self._range(each, sizes))
        if not found:
            raise UsageError(f"{self._file}: expected batch_specs or batch_spec_ranges")
        return found

    def _range(self, given: Mapping[str, Any], sizes: Sequence[int] | None) -> dict[str, Any]:
        if "template" not in given:
            raise UsageError(f"{self._file}: a batch_spec_ranges item has no template")
        count = "{batch_size}" if sizes else ""
        found: dict[str, Any] = {"batch": f"{count}{given['template']}"}
        if sizes:
            found["batch_size"] = list(sizes)
        for name, value in given.items():
            if name != "template":
                found[name] = _range_text(value) if isinstance(value, dict) else value
        return found

    def _drop(self, what: str, why: str) -> None:
        self.dropped.append(f"dropped {what}: {why}")

    def _drop_rest(self) -> None:
        for name in self._config:
            self._drop(name, _WHY.get(name, _UNKNOWN))


def _spelled(text: str) -> str:
    return str(parse_batch_spec(text))


def _range_text(given: Mapping[str, Any]) -> str:
    last = int(given["stop"]) - (0 if given.get("end_inclusive", True) else 1)
    step = given.get("step", 1)
    return f"{given['start']}..{last}" + (f":{step}" if step != 1 else "")
