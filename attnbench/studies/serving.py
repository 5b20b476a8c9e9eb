"""What makes vLLM's server run a choice: options, and a variable where there is no option."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from attnbench.analysis.decision import Implementation
from attnbench.errors import UsageError
from attnbench.kernels.registry import find
from attnbench.kernels.vllm.mla_prefill import PREFILLS
from attnbench.specs.case import Value

# Fields of vLLM's attention_config, by our knob; they hold for backends that have the knob.
_CONFIG = {
    "flash_version": "flash_attn_version",
    "num_splits": "flash_attn_max_num_splits_for_cuda_graph",
}
_BY_FLASH_ATTENTION = ("FLASH_ATTN", "FLASH_ATTN_MLA")  # whose splits the field above sets


@dataclass(frozen=True, slots=True)
class Serving:
    """The words of `vllm serve`, variables of its environment, and settings that have neither."""

    words: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """For a shell, and the settings that a server cannot be given."""
        variables = [f"{name}={value}" for name, value in self.variables.items()]
        words = " ".join([*variables, shlex.join(self.words)]).strip()
        return (words or "no option") + "".join(f"; no option for {each}" for each in self.unset)


def serving(family: str, choice: Implementation) -> Serving | None:
    """How vLLM is set to a choice; None for a backend that vLLM does not have."""
    enum = _registered(family, choice.backend)
    if enum is None:
        return None
    words = ["--attention-backend", enum] if enum else []
    variables, config, unset = dict[str, str](), dict[str, Value](), list[str]()
    for name, value in choice.settings:
        if name == "block_size":
            words += ["--block-size", str(value)]
        elif name == "layout":
            variables["VLLM_KV_CACHE_LAYOUT"] = str(value)
        elif fields := _config(enum, name, value):
            config |= fields
        else:
            unset.append(f"{name} {value}")
    if choice.path:
        unset.append("the threshold")
    if config:
        words += ["--attention-config", json.dumps(config)]
    return Serving(tuple(words), variables, tuple(unset))


def _registered(family: str, backend: str) -> str | None:
    """The name in vLLM's registry; "" for its own choice, None for what is not vLLM's."""
    try:
        found = find(family, backend)
    except UsageError:
        return None
    return "" if backend == "auto" else getattr(found, "enum", None)


def _config(enum: str, name: str, value: Value) -> dict[str, Value]:
    """The fields of attention_config that set a knob; none for a knob without."""
    if name == "prefill_backend" and str(value) in PREFILLS:
        member, version = PREFILLS[str(value)]
        flash = {} if version is None else {"flash_attn_version": version}
        return {"mla_prefill_backend": member, **flash}
    if name == "decode_kernel" and value == "native":
        return {"use_trtllm_attention": False}
    if name in _CONFIG and (name != "num_splits" or enum in _BY_FLASH_ATTENTION):
        return {_CONFIG[name]: value}
    return {}
