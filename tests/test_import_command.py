"""`attnbench import`: what is read of other tools, how it is marked, and what it is kept from."""

import csv
import json
import math
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.records import Measurement, Status
from attnbench.specs.shape import AttnShape, MlaShape
from tests.stored_results import attn, store_run, timed


def attnbench(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, [*words, "--db", str(folder / "i.db")])


def stored(folder: Path, run: int = 1) -> list[Measurement]:
    with Store.open(folder / "i.db") as store:
        return store.measurements([run])


def vllm_row(backend: str = "FLASH_ATTN", spec: str = "8q1s1k", **changes: object) -> object:
    """As the suite writes a result, every field of its config among it."""
    config = {
        "backend": backend,
        "batch_spec": spec,
        "num_layers": 10,
        "head_dim": 128,
        "num_q_heads": 32,
        "num_kv_heads": 8,
        "block_size": 16,
        "device": "cuda:0",
        "max_model_len": None,
        "dtype": "torch.float16",
        "profile_memory": False,
        "use_cuda_graphs": True,
        "ncu_profile": False,
        "warmup_ms": None,
        "kv_cache_dtype": "auto",
        "prefill_backend": None,
        "kv_lora_rank": None,
        "qk_nope_head_dim": None,
        "qk_rope_head_dim": None,
        "v_head_dim": None,
        "num_kv_splits": None,
        "reorder_batch_threshold": None,
        "sparse_mla_force_mqa": False,
        "sparse_mla_mha_mode": "auto",
        "sparse_mla_topk_pattern": "random",
        "num_splits": None,
    }
    result: dict[str, object] = {
        "mean_time": 2.1e-5,
        "median_time": 2.0e-5,
        "std_time": 1e-7,
        "min_time": 1.9e-5,
        "max_time": 2.4e-5,
        "throughput_tokens_per_sec": 4e5,
        "memory_allocated_mb": None,
        "memory_reserved_mb": None,
        "error": None,
    }
    known = {name: value for name, value in changes.items() if name in result}
    return (
        {"config": config | {n: v for n, v in changes.items() if n not in known}} | result | known
    )


MLA = {
    "head_dim": 576,
    "num_q_heads": 16,
    "num_kv_heads": 1,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
}


def write_vllm_json(folder: Path, *rows: object) -> str:
    path = folder / "vllm.json"
    path.write_text(json.dumps(rows, indent=2, default=str))
    return str(path)


@pytest.mark.parametrize(
    ("name", "rows", "right"), [("decode", 54, 53), ("mla", 33, 33)], ids=["decode", "mla"]
)
def test_what_the_suite_of_vllm_0_25_1_wrote_on_an_h200_is_read_whole(
    tmp_path: Path, name: str, rows: int, right: int
) -> None:
    path = Path(__file__).parents[1] / "docs" / "results" / f"vllm_suite_{name}.json"
    found = attnbench(tmp_path, "import", str(path))
    assert f"{rows} of {rows} rows of vllm" in " ".join(found.stdout.split())
    assert sum(each.status is Status.OK for each in stored(tmp_path)) == right


def test_a_row_of_vllms_json_says_what_was_measured(tmp_path: Path) -> None:
    path = write_vllm_json(
        tmp_path,
        vllm_row(),
        vllm_row("CUTLASS_MLA", "128q1s4k", **MLA, num_kv_splits=4, kv_cache_dtype="fp8"),
    )
    found = attnbench(tmp_path, "import", path, "--gpu", "NVIDIA H200", "--label", "suite")
    assert found.exit_code == 0, found.output
    assert "2 of 2 rows of vllm are run 1" in " ".join(found.stdout.split())
    plain, mla = stored(tmp_path)
    assert (plain.case.family, plain.case.backend, str(plain.case.batch)) == (
        "attn",
        "FLASH_ATTN",
        "8q1kv1k",
    )
    assert plain.case.shape == AttnShape(32, 8, 128)
    assert plain.median == 2.0e-5
    assert (plain.low, plain.high) == (None, None)
    assert plain.machine_name == "NVIDIA H200"
    assert plain.outcome.flops == 4 * 8 * 1024 * 32 * 128
    assert mla.case.shape == MlaShape(16)
    assert mla.case.kv_cache_dtype == "fp8"
    assert mla.case.knobs == (("foreign.num_layers", "10"), ("num_splits", 4))


def test_what_has_no_counterpart_is_listed_with_its_row(tmp_path: Path) -> None:
    path = write_vllm_json(
        tmp_path,
        vllm_row(),
        vllm_row(kv_cache_dtype="nvfp4"),
        vllm_row(median_time=0.0),
        vllm_row(spec="8x1"),
        vllm_row(v_head_dim=64),
        vllm_row(kv_cache_dtype="nvfp4"),
        vllm_row(num_kv_heads=5),
    )
    lines = " ".join(attnbench(tmp_path, "import", path).stdout.split())
    assert "1 of 7 rows" in lines
    assert "not imported, rows 2, 6: a KV cache of nvfp4 has no counterpart" in lines
    assert "not imported, row 3: median_time is '0.0', not a time" in lines
    assert "not imported, row 4: " in lines
    assert "row 5: values of another head size than keys have no counterpart" in lines
    assert "row 7: --num-q-heads 32 is not a multiple of --num-kv-heads 5" in lines


def test_a_failure_there_is_a_failure_here(tmp_path: Path) -> None:
    rows = [vllm_row(error="CUDA error", mean_time=math.inf, median_time=math.inf), vllm_row()]
    assert attnbench(tmp_path, "import", write_vllm_json(tmp_path, *rows)).exit_code == 0
    failed, _ = stored(tmp_path)
    assert (failed.status, failed.outcome.reason, failed.median) == (
        Status.ERROR,
        "CUDA error",
        None,
    )


def test_results_of_before_medians_are_means_and_compared_with_none(tmp_path: Path) -> None:
    older = vllm_row()
    assert isinstance(older, dict)
    del older["median_time"]
    attnbench(tmp_path, "import", write_vllm_json(tmp_path, older, vllm_row()))
    mean, median = stored(tmp_path)
    assert mean.median == 2.1e-5
    assert mean.method_key != median.method_key


VLLM_CSV = """\
backend,batch_spec,num_layers,kv_cache_dtype,mean_time,std_time,throughput,memory_mb
FLASH_ATTN,8q1s1k,10,auto,0.00002,0.0,400000.0,0
CUTLASS_MLA_num_kv_splits_4,8q1s1k,10,auto,0.00003,0.0,400000.0,0
FLASH_ATTN,q2k,10,auto,inf,0,0,0
"""


def test_vllms_csv_needs_the_model_that_it_does_not_name(tmp_path: Path) -> None:
    path = tmp_path / "vllm.csv"
    path.write_text(VLLM_CSV)
    found = attnbench(tmp_path, "import", str(path))
    assert found.exit_code == 2
    assert "the CSV has no heads and dims: name the model, e.g. --model" in found.stderr
    found = attnbench(tmp_path, "import", str(path), "--model", "llama3-70b", "--tp", "8")
    text = " ".join(found.stdout.split())
    assert "row 2: --model has plain attention, and CUTLASS_MLA_num_kv_splits_4" in text
    assert "row 3: mean_time is 'inf', not a time" in text
    (row,) = stored(tmp_path)
    assert row.case.shape == AttnShape(8, 1, 128)
    assert row.median == 2e-5


# In part; the file has a column for every option of every routine.
FLASHINFER_CSV = """\
routine,median_time,std_time,tflops,tb_per_sec,backend,resolved_backend,s_qo,s_kv,head_dim_qk,\
head_dim_vo,head_dim_ckv,head_dim_kpe,causal,q_dtype,kv_dtype,avg_actual_seq_len,\
random_actual_seq_len,m,batch_size,num_qo_heads,num_kv_heads,page_size,no_cuda_graph,use_cupti
BatchDecodeWithPagedKVCacheWrapper,0.02,0.0,7.1,1.8,fa2,fa2,1,1024,128,128,,,False,\
torch.bfloat16,torch.bfloat16,1024,False,,8,32,8,16,False,True
BatchPrefillWithPagedKVCacheWrapper,0.5,0.0,300,0.2,fa3,fa3,2048,2048,128,128,,,True,\
torch.bfloat16,torch.float8_e4m3fn,2048,False,,1,32,8,16,False,True
BatchPrefillWithRaggedKVCacheWrapper,0.5,0.0,300,0.2,cutlass,cutlass,2048,2048,192,128,,,True,\
torch.bfloat16,torch.bfloat16,2048,False,,1,128,128,0,False,True
BatchMLAPagedAttentionWrapper,0.04,0.0,200,2.5,fa2,fa2,1,1024,,,512,64,False,\
torch.bfloat16,torch.bfloat16,1024,False,,64,128,1,64,False,True
BatchDecodeWithPagedKVCacheWrapper,0.02,0.0,7.1,1.8,fa2,fa2,1,1024,128,128,,,False,\
torch.bfloat16,torch.bfloat16,700,True,,8,32,8,16,False,True
bmm_fp8,0.02,0.0,7.1,1.8,cudnn,,,,,,,,,,,,,16,8,,,,False,True
"""


def test_flashinfers_csv_is_read_as_far_as_it_tells_lengths(tmp_path: Path) -> None:
    path = tmp_path / "flashinfer.csv"
    path.write_text(FLASHINFER_CSV)
    found = attnbench(tmp_path, "import", str(path))
    assert found.exit_code == 0, found.output
    text = " ".join(found.stdout.split())
    assert "3 of 6 rows of flashinfer are run 1" in text
    assert "row 3: values of another head size than keys have no counterpart" in text
    assert "row 5: its lengths were drawn at random and are not in the file" in text
    assert "row 6: bmm_fp8 is not attention" in text
    rows = [
        (each.case.family, each.case.backend, str(each.case.batch), each.median)
        for each in stored(tmp_path)
    ]
    assert rows == [
        ("attn", "flashinfer-fa2", "8q1kv1k", 2e-5),
        ("attn", "flashinfer-fa3", "q2k", 5e-4),
        ("mla", "flashinfer-fa2", "64q1kv1k", 4e-5),
    ]
    assert stored(tmp_path)[1].case.kv_cache_dtype == "fp8_e4m3"


FLASHINFER_COLUMNS = """\
routine,median_time,backend,resolved_backend,s_qo,s_kv,head_dim_qk,head_dim_vo,causal,q_dtype,\
kv_dtype,random_actual_seq_len,batch_size,out_dtype,num_qo_heads,num_kv_heads,page_size,enable_pdl,\
no_cuda_graph,use_cupti,random_seed,case_tag,generate_repro_command,repro_command
"""
PLAIN = {
    "routine": "BatchDecodeWithPagedKVCacheWrapper", "median_time": "0.1", "backend": "auto",
    "resolved_backend": "auto", "s_qo": "1", "s_kv": "4096", "head_dim_qk": "128",
    "head_dim_vo": "128", "q_dtype": "torch.bfloat16", "kv_dtype": "torch.bfloat16",
    "random_actual_seq_len": "False", "batch_size": "32", "num_qo_heads": "64",
    "num_kv_heads": "8", "page_size": "16", "no_cuda_graph": "False", "use_cupti": "True",
    "generate_repro_command": "False",
}  # fmt: skip


def write_flashinfer_csv(folder: Path, *rows: dict[str, str]) -> str:
    """As the benchmark writes it: joined by commas, without quotes."""
    path = folder / "flashinfer.csv"
    columns = FLASHINFER_COLUMNS.strip().split(",")
    lines = [",".join((PLAIN | row).get(name, "") for name in columns) for row in rows]
    path.write_text("\n".join([FLASHINFER_COLUMNS.strip(), *lines]) + "\n")
    return str(path)


@pytest.mark.parametrize(
    ("said", "field", "value"),
    [
        ({"resolved_backend": "fa3"}, "foreign.resolved_backend", "fa3"),
        ({"enable_pdl": "True"}, "foreign.enable_pdl", "True"),
        ({"out_dtype": "nvfp4"}, "output_dtype", "nvfp4"),
        ({"case_tag": "new scheduler"}, "foreign.case_tag", "new scheduler"),
        ({"case_tag": "a,b"}, "foreign.case_tag", "a,b"),
        ({"resolved_backend": "fa2,fa3"}, "foreign.resolved_backend", "fa2,fa3"),
    ],
)
def test_rows_of_flashinfer_that_differ_in_anything_said_are_different_cases(
    tmp_path: Path, said: dict[str, str], field: str, value: str
) -> None:
    path = write_flashinfer_csv(tmp_path, {}, {"median_time": "0.2", **said})
    found = attnbench(tmp_path, "import", path)
    assert "2 of 2 rows" in " ".join(found.stdout.split()), found.output
    plain, other = stored(tmp_path)
    assert (plain.median, other.median) == (1e-4, 2e-4)
    assert plain.case.fields().get(field, "auto") == "auto"
    assert other.case.fields()[field] == value
    assert (plain.round, other.round) == (0, 0)
    assert plain.case == replace(other.case, output_dtype="auto", knobs=plain.case.knobs)


@pytest.mark.parametrize(
    "said", [{"repro_command": "a,b"}, {"random_seed": "7"}, {"resolved_backend": ""}]
)
def test_what_has_no_effect_on_a_time_makes_no_other_case(
    tmp_path: Path, said: dict[str, str]
) -> None:
    attnbench(tmp_path, "import", write_flashinfer_csv(tmp_path, {}, said))
    first, second = stored(tmp_path)
    assert first.case == second.case


def test_commas_in_a_cell_of_numbers_are_named(tmp_path: Path) -> None:
    path = write_flashinfer_csv(tmp_path, {}, {"use_cupti": "1,5"})
    text = " ".join(attnbench(tmp_path, "import", path).stdout.split())
    assert "row 2: it has 1 more cells than columns: a cell has commas in it" in text


@pytest.mark.parametrize(
    ("said", "field", "value"),
    [
        ({"num_layers": 60}, "foreign.num_layers", "60"),
        ({"max_model_len": 8192}, "foreign.max_model_len", "8192"),
        ({"sparse_mla_mha_mode": "dense"}, "foreign.sparse_mla_mha_mode", "dense"),
        ({"sparse_mla_force_mqa": True}, "force_mqa", True),
        ({"a_key_of_next_year": "on"}, "foreign.a_key_of_next_year", "on"),
    ],
)
def test_rows_of_vllm_that_differ_in_anything_said_are_different_cases(
    tmp_path: Path, said: dict[str, object], field: str, value: object
) -> None:
    rows = [vllm_row("FLASHMLA_SPARSE", "q1k", **MLA, **each) for each in ({}, said)]
    attnbench(tmp_path, "import", write_vllm_json(tmp_path, *rows))
    plain, other = stored(tmp_path)
    assert (plain.round, other.round) == (0, 0)
    assert other.case.fields()[field] == value != plain.case.fields().get(field)


def test_a_field_of_another_tool_selects_and_compares(tmp_path: Path) -> None:
    rows = [vllm_row(num_layers=1), vllm_row(num_layers=60, median_time=3e-5)]
    attnbench(tmp_path, "import", write_vllm_json(tmp_path, *rows))
    found = attnbench(tmp_path, "report", "--where", "foreign.num_layers=60").stdout
    assert "30.0" in found
    assert "20.0" not in found
    pair = ("--base", "1", "--head", "1", "--across", "foreign.num_layers=1:60")
    assert "+50.0" in attnbench(tmp_path, "diff", *pair).stdout


def test_a_file_is_imported_once_under_each_name(tmp_path: Path) -> None:
    path = write_vllm_json(tmp_path, vllm_row())
    attnbench(tmp_path, "import", path)
    again = attnbench(tmp_path, "import", path)
    assert again.exit_code == 0
    assert "imported already, as run 1" in " ".join(again.stdout.split())
    for other in (("--label", "b"), ("--gpu", "NVIDIA H200")):
        attnbench(tmp_path, "import", path, *other)
    with Store.open(tmp_path / "i.db") as store:
        assert [run.number for run in store.runs()] == [1, 2, 3]


def test_a_csv_of_the_python_api_is_imported_with_its_mla_backends(tmp_path: Path) -> None:
    path = tmp_path / "api.csv"
    path.write_text(VLLM_CSV.replace("CUTLASS_MLA_num_kv_splits_4", "torch-absorbed"))
    found = attnbench(tmp_path, "import", str(path), "--model", "deepseek-v3")
    assert found.exit_code == 0, found.output
    (row,) = stored(tmp_path)
    assert (row.case.backend, row.case.shape) == ("torch-absorbed", MlaShape())


def test_foreign_times_are_marked_wherever_they_are_shown(tmp_path: Path) -> None:
    attnbench(tmp_path, "import", write_vllm_json(tmp_path, vllm_row(), vllm_row("TRITON_ATTN")))
    for options in ([], ["--pivot", "backend"], ["--best"], ["--format", "markdown"]):
        text = " ".join(attnbench(tmp_path, "report", *options).stdout.split())
        assert "attn on unknown machine; timer foreign vllm cudagraph median" in text
    (row, _) = csv.DictReader(StringIO(attnbench(tmp_path, "report", "--format", "csv").stdout))
    assert row["timer"] == "foreign vllm cudagraph median"
    assert "import" in attnbench(tmp_path, "runs").stdout


def test_two_files_of_one_tool_can_be_compared(tmp_path: Path) -> None:
    for label, time in (("before", 2e-5), ("after", 3e-5)):
        path = write_vllm_json(tmp_path, vllm_row(median_time=time))
        attnbench(tmp_path, "import", path, "--label", label)
    found = attnbench(tmp_path, "diff", "--base", "before", "--head", "after")
    assert "+50.0" in found.stdout


def test_a_foreign_time_is_compared_with_none_of_ours(tmp_path: Path) -> None:
    attnbench(tmp_path, "import", write_vllm_json(tmp_path, vllm_row("sdpa", "8q1s1k")))
    with Store.open(tmp_path / "i.db") as store:
        case = attn("8q1kv1k", dtype="bf16")
        store_run(store, {case: timed(case, 1e-3)}, label="ours")
    found = attnbench(tmp_path, "diff", "--base", "1", "--head", "ours")
    assert found.exit_code == 3
    assert "nothing to compare" in found.stderr


def test_no_command_measures_an_imported_time_again(tmp_path: Path) -> None:
    attnbench(tmp_path, "import", write_vllm_json(tmp_path, vllm_row()))
    found = attnbench(tmp_path, "repro", "1")
    assert found.exit_code == 2
    assert "run 1 was imported, so no command can measure it again" in found.stderr


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            "a,b\n1,2\n",
            "was not written by a known tool; accepted are the JSON and CSV of",
        ),
        ("a.json", "[1, 2", "is not JSON"),
        (
            "a.csv",
            "uuid,run,run_uuid,case_key\na,1,b,c\n",
            "is attnbench's own; its results",
        ),
        ("a.json", '[{"uuid": 1, "run_uuid": 2, "case_key": 3}]', "is attnbench's own"),
        ("a.json", '[{"a": 1}]', "was not written by a known tool"),
        ("a.json", "[]", "was not written by a known tool"),
        ("empty.csv", "", "was not written by a known tool"),
    ],
)
def test_any_other_file_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    found = attnbench(tmp_path, "import", str(tmp_path / name))
    assert found.exit_code == 2
    assert message in found.stderr
    assert not (tmp_path / "i.db").exists()


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    found = attnbench(tmp_path, "import", str(tmp_path / "none.json"))
    assert found.exit_code == 2
    assert "none.json' does not exist" in found.stderr
