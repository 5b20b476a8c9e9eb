"""`auto` asks vLLM's selector what vLLM's own layers ask it, and gets what they get."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from typing import Any, cast

import pytest
import torch
from vllm.v1.attention import selector

from attnbench.families import FAMILIES
from attnbench.kernels.base import Refused, Setting
from attnbench.kernels.registry import find
from attnbench.kernels.vllm.attention_layer import attention_layer
from attnbench.kernels.vllm.config import LayerConfig, vllm_config
from attnbench.kernels.vllm.mla_layer import mla_layers
from attnbench.kernels.vllm.selector import selected
from attnbench.kernels.vllm.startup import activate, start
from attnbench.running.cases import cases_for
from attnbench.specs.case import Case, Value
from attnbench.specs.shape import AttnShape, MlaShape
from scripts.registry_tables import SURVEY
from tests.contracts.driven import QUESTIONS, chosen, question
from tests.contracts.faked_device import GENERATION, GPU
from tests.contracts.no_kernels import NoKernels

SURVEYED = json.loads(SURVEY.read_text()).get(version("vllm"), {}).get("selected", {})


class Asked(Exception):
    """Ends whatever has asked the selector."""


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What the selector is asked, by name, as far as it passes it on to the platform.

    While vLLM makes a model, the model's dtype is the default.
    """
    found = list[dict[str, Any]]()

    def hear(**named: Any) -> None:
        found.append(named)
        raise Asked

    monkeypatch.setattr(selector, "_cached_get_attn_backend", cache(hear))
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    yield found
    torch.set_default_dtype(usual)


def make_layer(case: Case) -> None:
    """As vLLM makes a layer of a model."""
    config = vllm_config(LayerConfig(case.shape, "bf16", case.batch, case.block_size))
    config.cache_config.cache_dtype = case.kv_cache_dtype
    activate(config)
    start("cpu")
    heads, none = case.shape.num_q_heads, cast(Any, None)
    if isinstance(case.shape, MlaShape):
        topk = None if case.index_topk is None else torch.zeros(1, dtype=torch.int32)
        mla_layers(none, config, case.shape, [torch.zeros(heads, 256, 512)], topk)
    sinks = torch.zeros(heads) if case.sinks else None
    attention_layer(none, config, case, case.window, sinks, "cpu")


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_selector_is_asked_as_vllms_layer_asks_it(
    name: str, heard: list[dict[str, Any]]
) -> None:
    case = question(name)
    for ask in (make_layer, selected):
        with pytest.raises(Asked):
            ask(case)
    theirs, ours = heard
    assert ours == theirs
    assert ours["backend"] is None
    assert ours["attn_selector_config"].block_size == case.block_size


@pytest.mark.parametrize("name", QUESTIONS)
def test_auto_is_what_the_page_says_of_this_release(name: str) -> None:
    if GENERATION not in SURVEYED:
        pytest.skip("a release that the page does not have")
    assert chosen(name) == SURVEYED[GENERATION][name], "run: make registry"


@pytest.mark.parametrize(
    ("family", "model"), [("attn", "llama3-8b"), ("attn", "gpt-oss-120b"), ("mla", "deepseek-v3")]
)
def test_it_stands_for_the_case_that_a_command_measures(family: str, model: str) -> None:
    auto, record = find(family, "auto"), FAMILIES[family]

    def case_of(backend: str) -> Case:
        given: dict[str, Any] = {"backend": (backend,), "model": model}
        return cases_for(record.asked(record.options(**given)), "cuda")[0]

    case = case_of("auto")
    auto.refusal(case, GPU.machine)
    twin = auto.stands_for(case)
    assert twin is not None
    assert twin == case_of(twin.backend)


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_vllm_takes_by_itself_is_never_refused(name: str) -> None:
    """As a command asks for it: of a server."""
    asked = question(name)
    if chosen(name) == "none":
        pytest.skip("vLLM takes none")
    knobs: tuple[tuple[str, Value], ...] = (("max_model_len", 131072),)
    if asked.family == "attn":
        knobs = (("decode_kernel", "served"), *knobs)
    case = replace(asked, knobs=knobs)
    assert find(case.family, "auto").refusal(case, GPU.machine) is None


def test_what_vllm_takes_does_not_depend_on_the_model_asked_about_before() -> None:
    """FLASHINFER_MLA takes some sizes of heads, which the key of vLLM's own cache lacks."""
    odd, usual = (
        replace(question("DeepSeek"), shape=MlaShape(64, qk_nope_head_dim=dim)) for dim in (96, 128)
    )
    alone = selected(usual)
    selected(odd)
    assert selected(usual) == alone
    assert (alone == "FLASHINFER_MLA") == (GENERATION == "SM100")
    assert selected(odd) != "FLASHINFER_MLA"


def test_auto_runs_what_it_stands_for_and_says_so(left_out: NoKernels) -> None:
    case, auto = question("Llama"), find("attn", "auto")
    assert auto.refusal(case, GPU.machine) is None
    twin = auto.stands_for(case)
    assert twin is not None
    assert find("attn", twin.backend).name == find("attn", selected(case)).name
    with torch.inference_mode():
        ready = auto.prepare(case, Setting("cpu", 2, seed=0))
        left_out.launch(ready.calls)
    assert ready.resolved["selected"] == twin.backend


def test_where_vllm_finds_none_auto_says_its_reasons() -> None:
    odd = Case("attn", "auto", question("Llama").batch, AttnShape(4, 2, 12), "bf16", sinks=True)
    with pytest.raises(Refused, match=r"vLLM's selector finds no backend for this case: .*FLASH"):
        selected(odd)
    assert "finds no backend" in str(find("attn", "auto").refusal(odd, GPU.machine))
