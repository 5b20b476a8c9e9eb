"""Configs of vLLM's suite that become studies."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from attnbench.cli import cli
from attnbench.compat.suite_config import imported
from attnbench.studies.cases import cells_of
from tests.test_study_file import study

SUITE = """\
description: Decode against prefill
backend: FLASH_ATTN_MLA
mode: decode_vs_prefill
batch_spec_ranges:
  - {template: "q{q_len}s1k", q_len: {start: 1, stop: 16, step: 1, end_inclusive: false}}
  - {template: "q{q_len}s1k", q_len: {start: 16, stop: 64, step: 2}}
batch_sizes: [1, 2]
model: {num_layers: 10, head_dim: 576, num_q_heads: 128, block_size: 128}
benchmark: {repeats: 15}
unheard_of: 1
"""


def test_a_config_of_the_suite_becomes_a_study_and_tells_what_it_dropped() -> None:
    text, dropped = imported(SUITE, "reorder.yaml")
    found = study(text)
    assert found.question == "Decode against prefill"
    first, second = found.sweep
    assert first.backends == ("flashattn_mla",)
    assert first.variables["q_len"] == tuple(range(1, 16))
    assert second.variables["q_len"] == tuple(range(16, 65, 2))
    assert first.templates == ("{batch_size}q{q_len}s1k",)
    assert [line.partition(":")[0] for line in dropped] == [
        "dropped model.num_layers",
        "dropped model.head_dim",
        "dropped model.block_size",
        "dropped benchmark",
        "dropped unheard_of",
    ]
    assert dropped[-1].endswith("it has no counterpart here")


MLA = {"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
CONFIGS: dict[str, tuple[dict[str, Any], dict[str, Any], list[Any]]] = {
    "settings of one backend": (
        {"backends": ["CUTLASS_MLA", "FLASHMLA", "FLASH_ATTN_MLA"], "batch_specs": ["16q1s1k"],
         "CUTLASS_MLA": {"num_kv_splits": "auto"},
         "FLASH_ATTN_MLA": {"reorder_batch_threshold": 512}},
        {"winner": {}},
        [(["cutlass_mla", "flashmla"], None), (["flashattn_mla"], {"threshold": [512]})],
    ),
    "splits against another backend": (
        {"backends": ["cutlass_mla", "flashinfer_mla"], "batch_specs": ["32q1kv1k"],
         "num_splits": [4, 8], "compare_auto": True},
        {"contrast": {"field": "backend", "pairs": [["cutlass_mla", "flashinfer_mla"]],
                      "tune": ["num_splits"]}},
        [(["cutlass_mla", "flashinfer_mla"], {"num_splits": ["auto", 4, 8]})],
    ),
    "a sweep named as mode": (
        {"backend": "CUTLASS_MLA", "batch_specs": ["16q1s1k"], "mode": "parameter_sweep",
         "parameter_sweep": {"param_name": "num_kv_splits", "values": [1, 2]}},
        {"optimum": {"knob": "num_splits"}},
        [(["cutlass_mla"], {"num_splits": [1, 2]})],
    ),
    "sets of dims": (
        {"backends": ["FLASH_ATTN", "TRITON_ATTN"], "batch_specs": ["q1s1k"],
         "model_parameter_sweep": {"values": [{"num_q_heads": 32, "num_kv_heads": 32},
                                              {"num_q_heads": 64, "num_kv_heads": 8}]}},
        {"winner": {}},
        [(["flash", "triton"], None)] * 2,
    ),
    "ranges of a variable of its own": (
        {"backends": ["FLASHMLA", "CUTLASS_MLA"],
         "batch_spec_ranges": [{"template": "{}q1kv1k", "range": {"start": 1, "stop": 4}}]},
        {"winner": {}},
        [(["flashmla", "cutlass_mla"], None)],
    ),
    "dense against sparse": (
        {"mode": "mha_vs_mqa", "backends": ["FLASHMLA_SPARSE"], "model": MLA,
         "batch_specs": ["q1s64", "q32s64", "q8k", "q64k"], "sparse_mla_topk_pattern": "prefix",
         "sparse_mla_dense_mha_max_seq_len": 16384},
        {"contrast": {"field": "backend", "pairs": [["triton_mla", "flashmla_sparse"]],
                      "tune": ["threshold", "force_mqa"]}},
        [(["triton_mla"], {"threshold": [1]}), (["flashmla_sparse"], {"force_mqa": [True]})],
    ),
    "a fused output": (
        {"decode_backends": ["CUTLASS_MLA"], "batch_specs": ["q512"], "fp8_output_scale": 0.1,
         "fuse_quant_op": [False, True]},
        {"winner": {}},
        [(["cutlass_mla"], {"prefill_backend": ["fa4"]})],
    ),
    "backends by command line": (
        {"model": MLA, "batch_specs": ["q128", "9q1s3071_4q8s2049"],
         "model_parameter_sweep": {"values": [{**MLA, "num_layers": 36, "kv_lora_rank": 256}]}},
        {"winner": {}},
        [(None, None)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONFIGS)
def test_each_kind_of_config_becomes_a_study_that_plans(kind: str) -> None:
    config, answer, groups = CONFIGS[kind]
    text, _ = imported(yaml.safe_dump(config), "config.yaml")
    plain = yaml.safe_load(text)
    assert plain["answer"] == answer
    assert [(each.get("backend"), each.get("knobs")) for each in plain["sweep"]] == groups
    assert "&id" not in text
    assert cells_of(study(text), "cuda").cases


def test_both_sides_of_mha_against_mqa_have_the_same_batches() -> None:
    text, dropped = imported(yaml.safe_dump(CONFIGS["dense against sparse"][0]), "config.yaml")
    dense, sparse = yaml.safe_load(text)["sweep"]
    assert dense["batch"] == sparse["batch"] == ["q32kv64", "q8k"]
    assert dense["scope"] == sparse["scope"] == "layer"
    assert (sparse["index_topk"], sparse["topk_pattern"]) == (2048, "prefix")
    assert not {"index_topk", "topk_pattern"} & dense.keys()
    assert dropped == [
        "dropped masked_mha: no backend masks MHA; over all keys it multiplies as much",
        "dropped 2 batch_specs: requests of one new token or over 16384 have no MHA to compare",
    ]


def test_a_limit_of_masked_mha_counts_where_only_that_is_asked_for() -> None:
    config = CONFIGS["dense against sparse"][0] | {
        "sparse_mla_mha_variants": ["masked_mha", "mqa"],
        "sparse_mla_masked_mha_max_seq_len": 4096,
    }
    text, _ = imported(yaml.safe_dump(config), "config.yaml")
    assert yaml.safe_load(text)["sweep"][0]["batch"] == ["q32kv64"]


def test_what_a_set_of_dims_has_beside_dims_is_told() -> None:
    config, _, _ = CONFIGS["backends by command line"]
    _, dropped = imported(yaml.safe_dump(config), "config.yaml")
    assert [line.partition(":")[0] for line in dropped] == [
        "dropped backends",
        "dropped model_parameter_sweep.num_layers",
    ]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"backends": ["CUTLASS_MLA"], "batch_specs": ["16q1s1k"], "parameter_sweep":
             {"param_name": "num_kv_splits", "values": [1, 4], "include_auto": True}},
            {"knobs": {"num_splits": ["auto", 1, 4]}},
        ),
        (
            {"backends": ["FLASH_ATTN", "TRITON_ATTN", "FLASHINFER"], "batch_specs": ["q2k", "8s1k"]},  # noqa: E501
            {"backend": ["flash", "triton", "flashinfer"], "batch": ["q2k", "8q1kv1k"]},
        ),
        (
            {"backends": ["FLASHMLA"], "batch_specs": ["q1s1k"], "model_parameter_sweep":
             {"param_name": "num_q_heads", "values": [128, 16]}},
            {"num_q_heads": [128, 16]},
        ),
        (
            {"backend": "FLASHMLA_SPARSE", "batch_specs": ["q1s1k"],
             "sparse_mla_topk_pattern": "sliding_window"},
            {"topk_pattern": "window"},
        ),
    ],
)  # fmt: skip
def test_each_part_of_a_config_finds_its_place(
    config: dict[str, object], expected: dict[str, object]
) -> None:
    text, dropped = imported(yaml.safe_dump(config), "config.yaml")
    (segment,) = yaml.safe_load(text)["sweep"]
    assert {name: segment[name] for name in expected} == expected
    assert dropped == []
    study(text)


def test_an_import_does_not_replace_the_config(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("backends: [flash]\nbatch_specs: [q1k]\n")
    found = CliRunner().invoke(cli, ["study", "import", str(config), "--output", str(config)])
    assert found.exit_code == 2
    assert "that is the file to read; name another to write" in found.output
    assert config.read_text().startswith("backends")
