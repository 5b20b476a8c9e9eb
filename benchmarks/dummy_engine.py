"""vLLM's engine core with a dummy model: no network, no weights, no API server."""

import importlib
import json
import random
import re
import sys
import tempfile
import time
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from attnbench.kernels.vllm.triton_splits import splits_for

MOST_REQUESTS = 64
PREFILL_TOKENS = 16384  # a step
VOCABULARY = 1024
KV_CACHE_BYTES = 16 << 30
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 131072,
}
# Having experts decides which model runner vLLM takes; no layer here has any.
DEEPSEEK = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": 8,
    "max_position_embeddings": 163840,
}
MODULES = {"LlamaForCausalLM": "llama", "DeepseekV3ForCausalLM": "deepseek_v2"}
BACKENDS = {
    "FLASH_ATTN": LLAMA,
    "TRITON_ATTN": LLAMA,
    "FLASHINFER": LLAMA,
    "FLASHMLA": DEEPSEEK,
    "FLASH_ATTN_MLA": DEEPSEEK,
    "TRITON_MLA": DEEPSEEK,
}
# vLLM reads these while it is imported.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CACHE_ROOT": str(Path(tempfile.gettempdir(), "attnbench-vllm")),
    "VLLM_HAS_FLASHINFER_CUBIN": "1",  # as on every server: vLLM requires flashinfer-cubin
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_USE_DEEP_GEMM": "0",  # it would be warmed up
    "VLLM_USE_FLASHINFER_SAMPLER": "0",  # it would be compiled
}
# The engine imports these for its server, its grammars and other models. Nothing here calls them.
UNUSED = {"aiohttp", "cloudpickle", "cpuinfo", "einops", "llguidance", "prometheus_client"}
UNUSED |= {"uvloop", "xgrammar"}


class Placeholders(MetaPathFinder, Loader):
    """Finds those of UNUSED that are not installed, as modules full of empty classes."""

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        unused = name.partition(".")[0] in UNUSED
        return ModuleSpec(name, self, is_package=True) if unused else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Placeholder(spec.name)

    def exec_module(self, module: ModuleType) -> None: ...


class Placeholder(ModuleType):
    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def import_engine() -> str:
    """Import vLLM's engine core, also where parts of its server are missing; vLLM's version."""
    sys.meta_path.append(Placeholders())
    importlib.import_module("vllm.v1.engine.core")
    return str(importlib.import_module("vllm").__version__)


def record_captures(backend: str) -> list[dict[str, Any]]:
    """A list that gets the lengths and counts of each metadata built for a capture from now on."""
    from vllm.v1.attention.backends.registry import AttentionBackendEnum

    builder: Any = AttentionBackendEnum[backend].get_class().get_builder_cls()
    build = builder.build_for_cudagraph_capture
    noted: list[dict[str, Any]] = []

    def recording(self: Any, common: Any) -> Any:
        metadata = build(self, common)
        noted.append(frozen(common, metadata))
        if backend == "TRITON_MLA":
            noted[-1]["num_kv_splits"] = splits_for(common.max_seq_len)
        return metadata

    builder.build_for_cudagraph_capture = recording
    return noted


def frozen(common: Any, metadata: Any) -> dict[str, Any]:
    """What a graph keeps of the metadata that it is captured with."""
    kept = re.compile("max_(seq|num)|split|kernel|segments|threshold")
    found = {"requests": common.num_reqs, "table": list(common.block_table_tensor.shape)}
    for part in (common, metadata, getattr(metadata, "decode", None)):
        values = vars(part) if hasattr(part, "__dict__") else {}
        named = {name: getattr(value, "name", value) for name, value in values.items()}
        found |= {n: v for n, v in named.items() if kept.search(n) and isinstance(v, int | str)}
    return found


def set_weights(module: Any, config: object) -> None:
    """Weights that keep activations near one, in place of vLLM's of 1e-3.

    Values of almost nothing draw less power, and FlashMLA divides them slowly.
    """
    for weight in module.state_dict().values():
        if weight.ndim == 1:
            weight.fill_(1)  # of a norm
        elif weight.ndim > 1:  # scales of a cache are scalars, and set
            weight.normal_(std=weight.shape[-1] ** -0.5)


def engine(backend: str, layers: int, mlp: int) -> Any:
    """A started engine core, with the settings of a server except for torch.compile.

    `mlp` is the width of its layers' MLPs.
    """
    from vllm.engine.arg_utils import EngineArgs
    from vllm.model_executor.model_loader import dummy_loader
    from vllm.model_executor.models.registry import ModelRegistry
    from vllm.v1.engine.core import EngineCore
    from vllm.v1.executor.uniproc_executor import UniProcExecutor

    model: dict[str, Any] = BACKENDS[backend] | {
        "num_hidden_layers": layers,
        "first_k_dense_replace": layers,
        "hidden_size": 4096,
        "intermediate_size": mlp,
        "vocab_size": VOCABULARY,
        "torch_dtype": "bfloat16",
    }
    (name,) = model["architectures"]
    module = importlib.import_module(f"vllm.model_executor.models.{MODULES[name]}")
    dummy_loader.initialize_dummy_weights = set_weights
    ModelRegistry.register_model(name, getattr(module, name))  # else looked at in a new process
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(model))
        settings = EngineArgs(
            model=folder,
            skip_tokenizer_init=True,
            generation_config="vllm",
            load_format="dummy",
            attention_backend=backend,
            max_num_seqs=MOST_REQUESTS,
            max_num_batched_tokens=PREFILL_TOKENS,
            gpu_memory_utilization=0.5,
            kv_cache_memory_bytes=KV_CACHE_BYTES,
            enable_prefix_caching=False,
            async_scheduling=False,
            enable_flashinfer_autotune=False,
            compilation_config={"mode": 0, "cudagraph_mode": "FULL_DECODE_ONLY"},
        )
        return EngineCore(settings.create_engine_config(), UniProcExecutor, log_stats=False)


def add_requests(core: Any, requests: int, prompt: int) -> list[str]:
    """Queue random prompts of that many tokens; their names."""
    from vllm import SamplingParams
    from vllm.v1.engine import EngineCoreRequest

    names, chosen = [f"{prompt}-{index}" for index in range(requests)], random.Random(0)
    for name in names:
        request = EngineCoreRequest(
            request_id=name,
            prompt_token_ids=chosen.choices(range(VOCABULARY), k=prompt),
            mm_features=None,
            sampling_params=SamplingParams(temperature=0.0, max_tokens=1000, ignore_eos=True),
            pooling_params=None,
            arrival_time=time.time(),
            lora_request=None,
            cache_salt=None,
            data_parallel_rank=None,
        )
        core.add_request(*core.preprocess_add_request(request))
    return names
