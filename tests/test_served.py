"""How a server runs a batch, as far as vLLM is not needed: graphs, padding, lengths, kernels."""

from dataclasses import dataclass, field, fields, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from attnbench.cli import cli
from attnbench.commands.family import family_command
from attnbench.commands.table import read
from attnbench.families import FAMILIES
from attnbench.kernels.attn.vllm_flashinfer import VllmFlashInfer
from attnbench.kernels.base import Refused
from attnbench.kernels.registry import backends, find
from attnbench.kernels.vllm.flashinfer_decode import (
    asked_kernel,
    decode_refusal,
    expected_kernel,
    verify_kernel,
)
from attnbench.kernels.vllm.served import Served, graph_size
from attnbench.provenance.machine import Machine
from attnbench.reporting.forecast import forecast_text
from attnbench.results.command_line import case_command
from attnbench.running.cases import cases_for
from attnbench.running.forecast import Forecast, Foreseen
from attnbench.running.plan import Plan
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case, Value
from attnbench.specs.shape import AttnShape, MlaShape
from attnbench.studies.cases import cells_of
from attnbench.studies.request import load_study
from attnbench.timing.method import Method
from tests.conftest import small_case

H200 = Machine(kind="cuda", device="cuda:0", name="NVIDIA H200", capability=(9, 0))
B200 = Machine(kind="cuda", device="cuda:0", name="NVIDIA B200", capability=(10, 0))
A100 = Machine(kind="cuda", device="cuda:0", name="NVIDIA A100", capability=(8, 0))
CAPTURED = (1, 2, 4, *range(8, 256, 8), *range(256, 513, 16))  # vLLM's own list


def served(spec: str = "5q1kv40", limit: int = 8192, **knobs: Value) -> Case:
    knobs = {"max_model_len": limit, **knobs}
    return small_case("attn", "flash", spec, knobs=tuple(knobs.items()))


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        ("q1kv9", 1),
        ("3q1kv9", 4),
        ("5q1kv9", 8),
        ("8q1kv9", 8),
        ("33q1kv9", 40),
        ("257q1kv9", 272),
        ("512q1kv9", 512),
        ("513q1kv9", None),  # launched without a graph
        ("4q4kv9", None),  # of a server that does not speculate
        ("q8_3q1kv9", None),  # attention stays outside the graph
    ],
)
def test_decodes_are_replayed_from_the_smallest_graph_that_holds_them(
    spec: str, size: int | None
) -> None:
    assert graph_size(parse_batch_spec(spec), CAPTURED) == size


class Builder:
    """A builder class that can be captured or not, as vLLM's AttentionCGSupport has it."""

    def __init__(self, support: int) -> None:
        self.support = support

    def get_cudagraph_support(self, config: object, spec: object) -> Any:
        return SimpleNamespace(value=self.support)


@pytest.mark.parametrize(
    ("case", "support", "graphs", "expected"),
    [
        (served(), 3, True, Served(8192, captured=True, padding=3)),
        (served(unpadded=True), 3, True, Served(8192, captured=True, padding=0)),
        (served(), 0, True, Served(8192)),
        (served(), 3, False, Served(8192)),
        (served("q8_5q1kv40"), 3, True, Served(8192)),
        (small_case("attn", "flash", "5q1kv40"), 3, True, Served()),
    ],
)
def test_only_what_a_server_captures_is_padded(
    case: Case, support: int, graphs: bool, expected: Served
) -> None:
    config: Any = SimpleNamespace(
        compilation_config=SimpleNamespace(cudagraph_capture_sizes=list(CAPTURED))
    )
    assert Served.of(case, config, Builder(support), None, graphs=graphs) == expected


@dataclass
class Common:
    """The fields of CommonAttentionMetadata that a capture changes."""

    num_reqs: int = 8
    max_seq_len: int = 40
    seq_lens: torch.Tensor = field(default_factory=lambda: torch.tensor([40] * 5 + [0] * 3))
    query_start_loc_cpu: torch.Tensor = field(
        default_factory=lambda: torch.tensor([0, 1, 2, 3, 4, 5, 5, 5, 5])
    )


class Capturing:
    """A builder as Triton's: what Python reads is frozen, a buffer is written by every build."""

    def __init__(self) -> None:
        self.buffer = torch.zeros(8)
        self.starts: list[list[int]] = []

    def build(self, common_prefix_len: int, common: Any) -> Any:
        self.buffer.copy_(common.seq_lens)
        self.starts.append(common.query_start_loc_cpu.tolist())
        return SimpleNamespace(max_seq_len=common.max_seq_len, buffer=self.buffer)

    def build_for_cudagraph_capture(self, common: Any) -> Any:
        made = self.build(0, common)
        common.seq_lens.fill_(1)
        return made


def test_a_captured_batch_has_the_servers_length_and_its_own_buffers() -> None:
    common, builder = Common(), Capturing()
    made = Served(8192, captured=True, padding=3).build(builder, common)
    assert made.max_seq_len == 8192
    assert made.buffer.tolist() == [40.0] * 5 + [0.0] * 3
    assert common.max_seq_len == 40
    assert common.seq_lens.tolist() == [40] * 5 + [0] * 3
    assert builder.starts == [list(range(9)), [0, 1, 2, 3, 4, 5, 5, 5, 5]]


def test_a_batch_outside_a_graph_has_its_own_length() -> None:
    made = Served(8192).build(Capturing(), Common())
    assert made.max_seq_len == 40


def test_a_row_says_the_servers_length_and_the_padding() -> None:
    batch = parse_batch_spec("5q1kv40")
    facts = Served(8192, captured=True, padding=3).facts(batch)
    assert facts == {"max_model_len": 8192, "padded_to": 8}
    assert Served(8192).facts(batch) == {"max_model_len": 8192}
    assert Served().facts(batch) == {}


@pytest.mark.parametrize("family", ["attn", "mla"])
def test_every_backend_of_vllm_and_no_other_takes_a_servers_length(family: str) -> None:
    takers = {each.name for each in backends(family) if "max_model_len" in each.knobs}
    assert takers == {each.name for each in backends(family) if each.module == "vllm"}


def test_requests_longer_than_the_server_allows_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(find("attn", "flash").__class__, "module", "torch")
    refusal = find("attn", "flash").refusal(served("q1kv40", limit=32), H200)
    assert refusal == "has a request of 40 tokens, more than --max-model-len 32"


def flashinfer(decode_kernel: str | None = "served", **fields: Any) -> Case:
    knobs = () if decode_kernel is None else (("decode_kernel", decode_kernel),)
    return replace(small_case("attn", "flashinfer"), knobs=knobs, **fields)


@pytest.mark.parametrize(
    ("case", "on_h200", "on_b200", "on_a100"),
    [
        (flashinfer(), "xqa", "trtllm", "native"),
        (flashinfer("native"), "native", "native", "native"),
        (flashinfer(None), "native", "native", "native"),
        (flashinfer("xqa"), "xqa", "xqa", "xqa"),
    ],
)
def test_flashinfer_decodes_by_what_a_stock_server_takes_on_that_gpu(
    case: Case, on_h200: str, on_b200: str, on_a100: str
) -> None:
    asked = asked_kernel(case)
    assert expected_kernel(asked, H200.capability) == on_h200
    assert expected_kernel(asked, B200.capability) == on_b200
    assert expected_kernel(asked, A100.capability) == on_a100


@pytest.mark.parametrize(
    ("case", "machine", "reason"),
    [
        (flashinfer("xqa"), B200, "decodes by XQA on SM90 alone; this is SM100 (NVIDIA B200)"),
        (flashinfer("trtllm"), H200, "decodes by trtllm-gen on SM100 alone; this is SM90"),
        (flashinfer(kv_cache_dtype="fp8_e5m2"), H200, "does not take --kv-cache-dtype fp8_e5m2"),
        (flashinfer(shape=AttnShape(8, 2, 512)), H200, "XQA, which takes head dims up to 256"),
        (flashinfer(softcap=30.0), H200, "does not pass --softcap to xqa"),
        (flashinfer(layout="NHD"), B200, "trtllm-gen from HND alone, not --layout NHD"),
        (flashinfer(layout="NHD"), H200, None),
        (flashinfer("native", kv_cache_dtype="fp8_e5m2"), H200, None),
        (flashinfer(None, softcap=30.0), H200, None),
        (flashinfer(softcap=30.0), A100, None),
    ],
)
def test_what_the_served_decode_would_get_wrong_is_refused(
    case: Case, machine: Machine, reason: str | None
) -> None:
    found = decode_refusal(case, machine)
    assert found == reason if reason is None else reason in (found or "")


def test_prompts_are_not_kept_from_flashinfer_by_its_decode_kernel() -> None:
    case = replace(flashinfer("xqa"), batch=parse_batch_spec("q8"))
    assert "XQA" not in (VllmFlashInfer().refusal(case, B200) or "")


@pytest.mark.parametrize(
    ("decode_kernel", "machine", "is_refused"),
    [("served", B200, False), ("native", B200, True), ("served", H200, True), ("xqa", H200, True)],
)
def test_flashinfer_takes_sinks_by_trtllm_gen_alone(
    decode_kernel: str, machine: Machine, is_refused: bool
) -> None:
    """It is what vLLM takes by itself for gpt-oss on Blackwell."""
    found = VllmFlashInfer().refusal(flashinfer(decode_kernel, sinks=True), machine) or ""
    assert ("--sinks by trtllm-gen alone" in found) == is_refused


def test_another_decode_kernel_than_a_server_takes_is_never_timed_in_its_place() -> None:
    native = SimpleNamespace(wrapper=SimpleNamespace(_backend="fa2"))
    xqa = SimpleNamespace(kernel=SimpleNamespace(value="xqa"))
    verify_kernel(native, "native")
    verify_kernel(xqa, "xqa")
    verify_kernel(SimpleNamespace(kernel=SimpleNamespace(value="trtllm-gen")), "trtllm")
    with pytest.raises(Refused, match="expected vLLM to decode by xqa, but it would by native"):
        verify_kernel(native, "xqa")
    with pytest.raises(Refused, match="expected vLLM to decode by native, but it would by xqa"):
        verify_kernel(xqa, "native")


def asked(family: str, *words: str) -> tuple[Case, ...]:
    """The cases of a command line, on a GPU."""
    command = family_command(FAMILIES[family])
    params = command.make_context(family, list(words), **cli.context_settings).params
    options = read(FAMILIES[family].options, params)
    return cases_for(FAMILIES[family].asked(options), "cuda")


def by_backend(cases: tuple[Case, ...]) -> dict[str, dict[str, Value]]:
    return {each.backend: dict(each.knobs) for each in cases}


@pytest.mark.parametrize(
    ("family", "words", "expected"),
    [
        (
            "attn",
            "--backend flash flashinfer sdpa",
            {
                "flash": {"max_model_len": 131072},
                "flashinfer": {"max_model_len": 131072, "decode_kernel": "served"},
                "sdpa": {},
            },
        ),
        ("attn", "--backend sdpa", {"sdpa": {}}),
        ("attn", "--backend flash --model qwen3-8b", {"flash": {"max_model_len": 40960}}),
        ("attn", "--backend flash --max-model-len 32k", {"flash": {"max_model_len": 32768}}),
        ("attn", "--backend flash --max-model-len batch", {"flash": {}}),
        (
            "attn",
            "--backend flash triton --model gpt-oss-120b",
            {
                "flash": {"max_model_len": 131072, "mixed_windows": True},
                "triton": {"max_model_len": 131072},
            },
        ),
        (
            "attn",
            "--backend flash flashinfer --model gpt-oss-120b --max-model-len batch",
            {"flash": {}, "flashinfer": {}},
        ),
        (
            "attn",
            "--backend triton --no-pad",
            {"triton": {"max_model_len": 131072, "unpadded": True}},
        ),
        (
            "attn",
            "--backend flashinfer --decode-kernel native",
            {"flashinfer": {"max_model_len": 131072, "decode_kernel": "native"}},
        ),
        (
            "attn",
            "--backend flashinfer --model llama3-8b",
            {"flashinfer": {"max_model_len": 131072, "decode_kernel": "served"}},
        ),
        (
            "mla",
            "--backend triton_mla flashmla torch-mha",
            {
                "triton_mla": {"max_model_len": 163840},
                "flashmla": {"max_model_len": 163840},
                "torch-mha": {},
            },
        ),
    ],
)
def test_a_command_asks_vllm_for_the_server_of_its_model(
    family: str, words: str, expected: dict[str, dict[str, Value]]
) -> None:
    assert by_backend(asked(family, *words.split(), "--batch-specs", "8q1kv1k")) == expected


def test_a_bare_kernel_is_the_case_of_earlier_releases() -> None:
    words = "--backend triton_mla --max-model-len batch --batch-specs q1kv9"
    (bare,) = asked("mla", *words.split())
    assert bare.canonical().keys() == {"family", "backend", "batch", "dtype"} | {
        each.name for each in fields(MlaShape)
    }


def test_servers_can_be_swept() -> None:
    words = "--backend flash --max-model-len 8k 16k batch --batch-specs q1kv9"
    found = asked("attn", *words.split())
    assert [each.knob("max_model_len") for each in found] == [8192, 16384, None]


def test_a_batch_longer_than_the_models_limit_is_of_a_server_that_allows_it() -> None:
    words = "--backend flash --model qwen3-8b --batch-specs q1kv9 q1kv64k"
    found = asked("attn", *words.split())
    assert [each.knob("max_model_len") for each in found] == [40960, 65536]


def test_studies_are_of_a_server_too() -> None:
    cells = cells_of(load_study("hopper-head-count"), "cuda").cases
    limits = {each.backend: each.knob("max_model_len") for each in cells}
    assert limits["flashattn_mla"] == limits["flashmla"] == 163840


@pytest.mark.parametrize(
    "words",
    [
        "--backend flash --batch-specs 5q1kv9",
        "--backend flash --batch-specs 5q1kv9 --max-model-len batch",
        "--backend flash --batch-specs 5q1kv9 --model gpt-oss-120b --no-pad",
        "--backend flashinfer --batch-specs 5q1kv9 --decode-kernel native",
        "--backend sdpa --batch-specs 5q1kv9",
    ],
)
def test_repro_asks_for_the_same_server(words: str) -> None:
    (case,) = asked("attn", *words.split())
    command = case_command(case, Method("cudagraph").as_facts(), {})
    assert asked("attn", *command[2:]) == (case,)
    assert ("--max-model-len" in command) == (case.backend != "sdpa")


LONG, SHORT = served(), served(limit=4096)
XQA = replace(LONG, backend="flashinfer", knobs=(*LONG.knobs, ("decode_kernel", "served")))
SDPA = small_case("attn", "sdpa", "5q1kv40")


@pytest.mark.parametrize(
    ("cases", "settings", "server"),
    [
        ((LONG, SDPA), ["fp32", "fp32"], "max_model_len=8192"),
        ((LONG, XQA), ["fp32", "fp32"], "decode_kernel=served max_model_len=8192"),
        ((LONG, SHORT), ["fp32 max_model_len=8192", "fp32 max_model_len=4096"], None),
        ((LONG, replace(LONG, knobs=())), ["fp32 max_model_len=8192", "fp32"], None),
        ((served(unpadded=True),), ["fp32 unpadded=True"], "max_model_len=8192"),
        ((SDPA,), ["fp32"], None),
    ],
)
def test_a_dry_run_says_once_what_server_its_cases_have(
    cases: tuple[Case, ...], settings: list[str], server: str | None
) -> None:
    foreseen = [Foreseen(each, None, 1, 1, 1.0, stored=False, too_long=False) for each in cases]
    found = Forecast(H200, Plan(cases, (Method("cudagraph"),)), tuple(foreseen), None)
    header, _, *lines = forecast_text(found, 200, 1).splitlines()[1:]
    start, end = header.index("settings"), header.index("sets ")
    assert [line[start:end].strip() for line in lines[: len(cases)]] == settings
    said = [line.rpartition(": ")[2] for line in lines if line.startswith("backends of vLLM")]
    assert said == ([] if server is None else [server])
