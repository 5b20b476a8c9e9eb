"""Configs of vLLM's attention benchmarks, turned into studies, with a list of dropped keys."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from attnbench.compat import suite_sparse
from attnbench.compat.suite_batches import take_batches
from attnbench.compat.suite_schema import read_config
from attnbench.families import FAMILIES, SUITE_KNOBS
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
    "fp8_output_scale": "MLA's prefill writes the dtype of its queries here",
    "fuse_quant_op": "MLA's prefill writes the dtype of its queries here",
}
_UNKNOWN = "it has no counterpart here"
_BOTH_PATHS = ("decode_vs_prefill", suite_sparse.MODE)  # compare paths, so from the same queries


def imported(text: str, file: str) -> tuple[str, list[str]]:
    """The text of a study and, for each dropped key, a sentence why.

    Raises UsageError for a text that is not such a config.
    """
    return _Reader(read_config(text, file), file).study()


class _Reader:
    """Takes keys out of a config; the rest is dropped at the end."""

    def __init__(self, config: dict[str, Any], file: str) -> None:
        self._config, self._file = dict(config), file
        self._model = dict(self._config.pop("model", None) or {})
        self.dropped: list[str] = []

    def study(self) -> tuple[str, list[str]]:
        """The study's text, and the dropped keys."""
        mode = self._config.pop("mode", None)
        question = self._config.pop("description", None) or self._question(mode)
        backends = self._backends()
        family = "mla" if self._is_mla(backends, mode) else "attn"
        common, knobs = self._dims(family) | self._fields(), self._knobs()
        answer = self._answer(mode, backends, knobs)
        if mode in _BOTH_PATHS:
            common["scope"] = "layer"
        cells = self._cells(mode, backends, knobs, common)
        varied = self._model_sweep(family)
        products = [{**common, **each, **dims} for dims in varied for each in cells]
        self._drop_rest()
        study = {"question": question, "family": family, "answer": answer, "sweep": products}
        return yaml.dump(study, Dumper=_WithoutAnchors, sort_keys=False, width=98), self.dropped

    def _question(self, mode: str | None) -> str:
        if mode == suite_sparse.MODE:
            return suite_sparse.QUESTION
        return f"Which backend of {Path(self._file).name} wins?"

    def _answer(
        self, mode: str | None, backends: Sequence[str], knobs: Mapping[str, object]
    ) -> dict[str, Any]:
        """How the study finds what the suite's mode, or the swept knob, asks for."""
        if mode == "decode_vs_prefill":
            return {"crossover": {}}
        if mode == suite_sparse.MODE:
            return suite_sparse.against_dense(backends)
        if mode not in (None, "parameter_sweep"):
            self._drop(f"mode: {mode}", "its comparison has no counterpart here")
        elif len(knobs) == 1 and "prefill_backend" not in knobs:
            (knob,) = knobs
            if len(backends) < 2:
                return {"optimum": {"knob": knob}}
            pairs = [[backends[0], other] for other in backends[1:]]
            return {"contrast": {"field": "backend", "pairs": pairs, "tune": [knob]}}
        return {"winner": {}}

    def _cells(
        self,
        mode: str | None,
        backends: Sequence[str],
        knobs: Mapping[str, list[Any]],
        common: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Products of backends, their knobs and batches, without what is common to all."""
        batches = take_batches(self._config, self._file)
        if mode == suite_sparse.MODE:
            groups = suite_sparse.both_sides(backends, common.pop("topk_pattern", "random"))
            batches, dropped = suite_sparse.compared(self._config, batches)
            for what, why in dropped:
                self._drop(what, why)
        else:
            groups = self._groups(backends, knobs)
        return [{**group, **each} for group in groups for each in batches]

    def _groups(
        self, backends: Sequence[str], knobs: Mapping[str, list[Any]]
    ) -> list[dict[str, Any]]:
        """Backends with the knobs that are set for all of them, or for one by its own key."""
        groups: list[dict[str, Any]] = [{"backend": [], **({"knobs": knobs} if knobs else {})}]
        for backend in backends:
            if own := self._own_knobs(backend):
                groups.append({"backend": [backend], "knobs": {**knobs, **own}})
            else:
                groups[0]["backend"].append(backend)
        if not backends:  # the suite takes them from its command line
            self._drop("backends", "the file names none, so all are asked; --backend names them")
            return [{name: value for name, value in groups[0].items() if name != "backend"}]
        return [group for group in groups if group["backend"]]

    def _own_knobs(self, backend: str) -> dict[str, list[Any]]:
        """The settings under the backend's name; `auto` is its default anyway."""
        named = [k for k, v in self._config.items() if _ours(k) == backend and isinstance(v, dict)]
        settings = {k: v for name in named for k, v in self._config.pop(name).items()}
        for name in settings.keys() - SUITE_KNOBS.keys():
            self._drop(f"{backend}.{name}", _UNKNOWN)
        return {
            SUITE_KNOBS[name]: [value]
            for name, value in settings.items()
            if name in SUITE_KNOBS and value != "auto"
        }

    def _backends(self) -> list[str]:
        for key in ("backends", "decode_backends", "backend"):
            if found := self._config.pop(key, None):
                listed = [found] if isinstance(found, str) else found
                return list(map(_ours, listed))
        return []

    def _is_mla(self, backends: Sequence[str], mode: str | None) -> bool:
        named = any("mla" in name for name in backends)
        return named or mode is not None or "kv_lora_rank" in self._model

    def _dims(self, family: str) -> dict[str, Any]:
        found = {n: self._model.pop(n) for n in list(self._model) if n in _dims_of(family)}
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
        if splits := self._config.pop("num_splits", None):
            auto = ["auto"] if self._config.pop("compare_auto", False) else []
            found["num_splits"] = [*auto, *splits]
        if "fp8_output_scale" in self._config:
            found["prefill_backend"] = ["fa4"]  # as the suite does
        sweep = self._config.pop("parameter_sweep", None)
        if sweep and sweep.get("param_name") in SUITE_KNOBS:
            auto = ["auto"] if sweep.get("include_auto") else []
            found[SUITE_KNOBS[sweep["param_name"]]] = [*auto, *sweep["values"]]
        elif sweep:
            self._drop(f"parameter_sweep: {sweep.get('param_name')}", _UNKNOWN)
        return found

    def _model_sweep(self, family: str) -> list[dict[str, Any]]:
        """Alternative fields: one product with all values, or one per set of values."""
        sweep = self._config.pop("model_parameter_sweep", None)
        if not sweep:
            return [{}]
        values = sweep["values"]
        if not all(isinstance(value, dict) for value in values):
            values = [{str(sweep["param_name"]): list(values)}]
        wanted = _dims_of(family)
        for name in sorted({name for value in values for name in value} - wanted):
            self._drop(f"model_parameter_sweep.{name}", _WHY.get(name, _UNKNOWN))
        kept = [{n: v for n, v in value.items() if n in wanted} for value in values]
        return [each for at, each in enumerate(kept) if each not in kept[:at]]

    def _drop(self, what: str, why: str) -> None:
        self.dropped.append(f"dropped {what}: {why}")

    def _drop_rest(self) -> None:
        for name in self._config:
            self._drop(name, _WHY.get(name, _UNKNOWN))


class _WithoutAnchors(yaml.SafeDumper):
    """Writes repeated values in full: anchors are hard to edit."""

    def ignore_aliases(self, data: object) -> bool:
        """Every value is written out."""
        return True


def _dims_of(family: str) -> set[str]:
    return {dim.name for dim in fields(FAMILIES[family].options().shape())}


def _ours(backend: str) -> str:
    """Our name of a backend of theirs."""
    return _BACKENDS.get(backend.lower(), backend.lower())
