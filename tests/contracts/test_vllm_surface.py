"""What attnbench asks of vLLM, held against the release that is installed."""

import inspect
import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from vllm import _custom_ops
from vllm.model_executor.custom_op import CustomOp

from attnbench.kernels.base import Refused
from attnbench.kernels.inputs import seeded
from attnbench.kernels.vllm.attention_layer import attention_layer
from attnbench.kernels.vllm.config import (
    MAX_NUM_BATCHED_TOKENS,
    MAX_NUM_SEQS,
    LayerConfig,
    vllm_config,
)
from attnbench.kernels.vllm.kv_cache import cache_format, use_layout
from attnbench.kernels.vllm.metadata import common_metadata, layer_tables
from attnbench.kernels.vllm.mla_layer import mla_layers, update_cache
from attnbench.kernels.vllm.names import registered
from attnbench.kernels.vllm.registry import (
    Configuration,
    Unavailable,
    backend_class,
    block_size,
    complaints,
)
from attnbench.kernels.vllm.startup import activate, start
from attnbench.provenance.environment import read_environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.vllm_variables import unread_variables
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape, MlaShape

HOPPER = Machine("cuda", "cuda:0", "NVIDIA H200", capability=(9, 0))
BATCH = parse_batch_spec("2q1kv40_q16kv48").in_execution_order()
STANDARD = ["FLASH_ATTN", "TRITON_ATTN", "FLASHINFER", "FLEX_ATTENTION"]
LATENT = ["FLASHMLA", "FLASH_ATTN_MLA", "TRITON_MLA", "FLASHMLA_SPARSE"]


def layer(shape: AttnShape | MlaShape, block: int = 64, **more: object) -> LayerConfig:
    return LayerConfig(shape, "bf16", BATCH, block, **more)  # type: ignore[arg-type]


def test_one_rank_starts_and_leaves_no_file(tmp_path: Path) -> None:
    alone = (
        "import os; from tests.contracts.conftest import *; "
        "from tests.contracts.test_vllm_surface import *; "
        "activate(vllm_config(layer(AttnShape(8, 2, 128), 16))); start('cpu'); os._exit(0)"
    )
    variables = os.environ | {"TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", alone], check=True, env=variables)
    assert not [each for each in tmp_path.iterdir() if each.is_file()]


def test_a_variable_that_this_vllm_does_not_have_is_remarked_on() -> None:
    set_ = {"VLLM_CACHE_ROOT": "/tmp", "VLLM_NONE_SUCH": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    remark = unread_variables(replace(read_environment(), variables=set_))
    assert remark is not None
    assert remark.endswith(" has no variable VLLM_NONE_SUCH: misspelt, or dropped?")


@pytest.mark.parametrize("name", STANDARD + LATENT)
def test_a_backend_of_hopper_is_in_the_registry_and_imports(name: str) -> None:
    assert name in registered()
    assert backend_class(name).get_name()


def test_an_unknown_name_is_unavailable_in_a_sentence() -> None:
    with pytest.raises(Unavailable, match="is not in this vLLM, whose registry has no NONE_SUCH"):
        backend_class("NONE_SUCH")


@pytest.mark.parametrize("kv_cache_dtype", ["auto", "fp8"])
def test_a_configuration_of_grouped_heads_needs_no_network(kv_cache_dtype: str) -> None:
    config = vllm_config(layer(AttnShape(64, 8, 128), 16, kv_cache_dtype=kv_cache_dtype))
    assert config.model_config.get_head_size() == 128
    assert config.model_config.get_num_kv_heads(config.parallel_config) == 8


@pytest.mark.parametrize("heads", [16, 128])
def test_a_configuration_of_latent_attention_has_its_true_dims(heads: int) -> None:
    config = vllm_config(layer(MlaShape(heads)))
    assert config.model_config.use_mla
    assert config.model_config.get_head_size() == 576
    assert config.model_config.get_num_attention_heads(config.parallel_config) == heads


def test_the_versions_of_flash_attention_can_be_asked_for() -> None:
    config = vllm_config(layer(AttnShape(), attention=(("flash_attn_version", 3),)))
    assert config.attention_config.flash_attn_version == 3


def test_a_field_that_this_vllm_has_not_is_refused() -> None:
    with pytest.raises(Refused, match=r"needs attention_config\.no_such_field"):
        vllm_config(layer(AttnShape(), attention=(("no_such_field", 1),)))


def test_equal_cases_have_configurations_of_their_own() -> None:
    first, second = (vllm_config(layer(AttnShape(), 16)) for _ in range(2))
    first.compilation_config.static_forward_context["a layer"] = object()
    first.cache_config.num_gpu_blocks = 7
    first.scheduler_config.max_num_seqs = 7
    assert not second.compilation_config.static_forward_context
    assert second.cache_config.num_gpu_blocks is None
    assert second.scheduler_config.max_num_seqs == MAX_NUM_SEQS
    assert not vllm_config(layer(AttnShape(), 16)).compilation_config.static_forward_context


def test_a_configuration_has_room_for_its_own_batch() -> None:
    small = vllm_config(layer(AttnShape(), 16)).scheduler_config
    large = vllm_config(replace(layer(AttnShape(), 16), batch=parse_batch_spec("2000q1kv5_q9k")))
    assert small.max_num_batched_tokens == MAX_NUM_BATCHED_TOKENS
    assert large.scheduler_config.max_num_seqs == 2001
    assert large.scheduler_config.max_num_batched_tokens == 2000 + 9 * 1024
    assert large.model_config.max_model_len == 16384


@pytest.mark.parametrize("name", STANDARD)
def test_a_standard_backend_takes_llamas_heads_on_hopper(name: str) -> None:
    activate(vllm_config(layer(AttnShape(32, 8, 128), 16)))
    asked = Configuration(head_size=128, dtype=torch.bfloat16, kv_cache_dtype="auto", block_size=16)
    assert complaints(backend_class(name), asked, HOPPER) == []


def test_what_a_backend_cannot_serve_comes_with_its_own_reason() -> None:
    activate(vllm_config(layer(MlaShape(), 64)))
    asked = Configuration(head_size=576, dtype=torch.bfloat16, kv_cache_dtype="auto", use_mla=True)
    (reason,) = complaints(backend_class("FLASHINFER_MLA"), asked, HOPPER)
    assert "compute capability" in reason


def test_the_metadata_of_a_batch_is_taken() -> None:
    tables = layer_tables(BATCH, 16, seeded("cpu", 0), "scattered")
    made = common_metadata(BATCH, tables)
    assert made.num_actual_tokens == 18
    assert made.query_start_loc.tolist() == [0, 1, 2, 18]
    assert made.block_table_tensor.shape == (3, 8)


@pytest.mark.parametrize("layout", ["NHD", "HND"])
@pytest.mark.parametrize("name", STANDARD)
def test_a_cache_has_a_format_that_can_be_filled(name: str, layout: str) -> None:
    config = vllm_config(layer(AttnShape(32, 8, 128), 16))
    activate(config)
    use_layout(config, layout)
    cls = backend_class(name)
    found = cache_format(cls, config, 10, block_size(cls, None, 16) or 16, 8, 128)
    by_token = found.by_token(torch.empty(found.shape, device="meta"))
    assert (by_token.shape[0], *by_token.shape[2:]) == (10, 2, 8, 128)


# What we call, with the names of the arguments that we pass.
CALLS = [
    ("vllm._custom_ops", "reshape_and_cache_flash", "key value key_cache value_cache slot_mapping"),
    ("vllm._custom_ops", "concat_and_cache_mla", "kv_c k_pe kv_cache slot_mapping kv_cache_dtype"),
    (
        "vllm.v1.attention.ops.triton_reshape_and_cache_flash",
        "triton_reshape_and_cache_flash",
        "key value key_cache value_cache slot_mapping kv_cache_dtype k_scale v_scale",
    ),
    (
        "vllm.model_executor.layers.attention.mla_attention",
        "MLAAttention.forward_impl",
        "kv_cache attn_metadata output",
    ),
    ("vllm.v1.attention.backends.mla.prefill", "get_mla_prefill_backend", "vllm_config"),
    ("vllm.v1.attention.backends.fa_utils", "get_flash_attn_version", "head_size"),
    ("vllm.v1.worker.workspace", "init_workspace_manager", "device"),
]


@pytest.mark.parametrize(("module", "name", "arguments"), CALLS)
def test_a_function_takes_what_we_pass(module: str, name: str, arguments: str) -> None:
    found = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    assert callable(found)
    missing = set(arguments.split()) - set(inspect.signature(found).parameters)
    assert not missing, f"{name} of this release has no {', '.join(sorted(missing))}"


@pytest.mark.parametrize("name", STANDARD)
def test_a_standard_impl_runs_forward_and_writes_its_cache_apart(name: str) -> None:
    impl = backend_class(name).get_impl_cls()
    wanted = {"layer", "query", "key", "value", "kv_cache", "attn_metadata", "output"}
    assert wanted <= set(inspect.signature(impl.forward).parameters)
    assert callable(impl.do_kv_cache_update)


def test_a_layer_compiles_its_operations_when_they_are_first_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[object] = []

    def compile_(function: Any, **_: object) -> Any:
        compiled.append(function)
        return lambda *args: args

    config = vllm_config(layer(MlaShape(16), kv_cache_dtype="fp8"))
    weights = [torch.zeros(16, 256, 512, dtype=torch.bfloat16)] * 2
    arguments = backend_class("FLASHMLA"), config, MlaShape(16), weights, None
    mla_layers(*arguments)  # imports modules that compile functions of their own
    config.compilation_config.static_forward_context.clear()
    monkeypatch.setattr(torch, "compile", compile_)
    made = mla_layers(*arguments)
    assert not compiled
    operations = [each for one in made for each in one.modules() if isinstance(each, CustomOp)]
    for each in (*operations, *operations):
        given = inspect.signature(each.forward_native).parameters.values()
        each(*(3 for one in given if one.default is one.empty))
    assert len(compiled) == len(operations) > 0


@pytest.mark.parametrize("kv_cache_dtype", ["auto", "fp8"])
def test_a_layer_of_latent_attention_writes_what_it_is_given(
    kv_cache_dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[object, ...]] = []
    kernel = "concat_and_cache_mla"
    monkeypatch.setattr(_custom_ops, kernel, lambda *a, **k: written.append((*a, *k.items())))
    config = vllm_config(layer(MlaShape(16), kv_cache_dtype=kv_cache_dtype))
    weights = torch.zeros(16, 256, 512, dtype=torch.bfloat16)
    (made,) = mla_layers(backend_class("FLASHMLA"), config, MlaShape(16), [weights], None)
    latents, ropes, slots = torch.ones(3, 512), torch.ones(3, 1, 64), torch.arange(3)
    update_cache(made, (latents, ropes), torch.ones(2, 64, 576), slots, None)
    (call,) = written
    assert call[0] is latents
    assert ropes.squeeze(1).equal(call[1])
    assert slots.equal(call[3])
    assert ("kv_cache_dtype", kv_cache_dtype) in call


@pytest.mark.parametrize(
    ("name", "kv_cache_dtype", "quantises"),
    [
        ("TRITON_ATTN", "fp8", True),
        ("TRITON_ATTN", "auto", False),
    ],
)
def test_a_layer_quantises_queries_where_its_backend_takes_them_so(
    name: str, kv_cache_dtype: str, quantises: bool
) -> None:
    config = vllm_config(layer(AttnShape(8, 2, 128), 16, kv_cache_dtype=kv_cache_dtype))
    case = Case("attn", "x", BATCH, AttnShape(8, 2, 128), "bf16", kv_cache_dtype=kv_cache_dtype)  # type: ignore[arg-type]
    activate(config)
    start("cpu")
    made = attention_layer(backend_class(name), config, case, None, None, "cpu")
    assert (made.query_quant is not None) is quantises
    assert isinstance(backend_class(name).forward_includes_kv_cache_update, bool)
