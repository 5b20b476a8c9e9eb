"""Traces of requests, in the formats that services and tools publish."""

import gzip
import json
from pathlib import Path

import pytest

from attnbench.errors import UsageError
from attnbench.studies.request import load_study
from attnbench.traffic.read import Trace, read_trace
from attnbench.traffic.requests import Requests
from attnbench.traffic.schedule import Schedule
from tests.conftest import Attnbench, Refused

DATA = Path(__file__).parent / "data" / "traces"

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 23:59:59.5000000,374,44
2023-11-17 00:00:01.7500000,396,109
"""
BURST_GPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,GPT-4,1087,230,1317,API log
50,GPT-4,20,0,20,API log
"""
OWN = """arrival_s,prompt_tokens,output_tokens,cached_tokens
0.5,100,10,64
0.25,50,5,
1,30,3,30
"""
MOONCAKE = """
{"timestamp": 0, "input_length": 1200, "output_length": 5, "hash_ids": [0, 1, 2]}
{"timestamp": 1500, "input_length": 1500, "output_length": 6, "hash_ids": [0, 1, 9]}
{"timestamp": 1500, "input_length": 1024, "output_length": 7, "hash_ids": [7, 1]}
{"timestamp": 2000, "input_length": 1024, "output_length": 8, "hash_ids": [0, 1]}
"""
# Unicode ends a line at U+2028, JSON does not.
MOONCAKE_WITH_TEXT = (
    '{"timestamp": 0, "input_length": 7, "output_length": 3, "text": "one\u2028two"}\n'
)
BENCH_SERVE = json.dumps(
    {"input_lens": [7, 9], "output_lens": [3, 4], "start_times": [100.5, 100.0], "ttfts": [1, 1]},
    indent=1,
)


def rows(requests: Requests) -> list[tuple[float, ...]]:
    columns = requests.arrival, requests.prompt, requests.output, requests.cached
    return list(zip(*(each.tolist() for each in columns), strict=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (AZURE, [(0, 374, 44, 0), (2.25, 396, 109, 0)]),
        (BURST_GPT, [(0, 472, 18, 0), (40, 1087, 230, 0)]),
        (OWN, [(0, 50, 5, 0), (0.25, 100, 10, 64), (0.75, 30, 3, 16)]),
        (
            MOONCAKE,
            [(0, 1200, 5, 0), (1.5, 1500, 6, 0), (1.5, 1024, 7, 0), (2, 1024, 8, 0)],
        ),
        (BENCH_SERVE, [(0, 9, 4, 0), (0.5, 7, 3, 0)]),
        ('{"input_lens": [7], "output_lens": [3]}', [(0, 7, 3, 0)]),
        (OWN.replace("50,5", "50.0,5.0"), [(0, 50, 5, 0), (0.25, 100, 10, 64), (0.75, 30, 3, 16)]),
        (OWN.replace("1,30", "  \n1,30"), [(0, 50, 5, 0), (0.25, 100, 10, 64), (0.75, 30, 3, 16)]),
        (MOONCAKE_WITH_TEXT, [(0, 7, 3, 0)]),
        (MOONCAKE_WITH_TEXT * 2, [(0, 7, 3, 0)] * 2),
    ],
    ids=[
        *("azure", "burst-gpt", "own", "mooncake", "bench-serve", "no-starts"),
        *("numbers of pandas", "a blank line", "text in JSON", "text in JSONL"),
    ],
)
def test_requests_are_read_in_order_of_arrival(
    text: str, expected: list[tuple[float, ...]], tmp_path: Path
) -> None:
    (tmp_path / "trace").write_text(text)
    trace = read_trace(tmp_path / "trace")
    assert isinstance(trace, Trace)
    assert rows(trace.requests) == expected


def test_mooncakes_hash_ids_are_kept_in_order_of_arrival(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text(MOONCAKE)
    trace = read_trace(tmp_path / "trace")
    assert isinstance(trace, Trace)
    assert trace.requests.hash_ids == ((0, 1, 2), (0, 1, 9), (7, 1), (0, 1))
    assert trace.requests.up_to(1100).hash_ids == ((7, 1), (0, 1))


def test_failed_requests_are_counted(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text(BURST_GPT)
    trace = read_trace(tmp_path / "trace")
    assert isinstance(trace, Trace)
    assert trace.without_output == 1


def test_served_batches_are_steps(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(
        '{"new": [1, 512, 1], "total": [900, 512, 30]}\n{"new": [1], "total": [31]}\n'
    )
    log = read_trace(tmp_path / "log.jsonl")
    assert isinstance(log, Schedule)
    assert [str(log.batch(step)) for step in range(2)] == ["q1kv900_q1kv30_q512", "q1kv31"]


@pytest.mark.parametrize(
    ("name", "requests", "first"),
    [
        ("azure_code_300.csv", 300, (0.0, 4808, 10, 0)),
        ("azure_conv_300.csv", 300, (0.0, 374, 44, 0)),
        ("mooncake_conversation_200.jsonl", 200, (0.0, 6758, 500, 0)),
    ],
)
def test_published_traces_are_read(name: str, requests: int, first: tuple[float, ...]) -> None:
    trace = read_trace(DATA / name)
    assert isinstance(trace, Trace)
    assert len(trace.requests) == requests
    assert rows(trace.requests)[0] == first


OF_THE_FORMAT = ("is empty", "no known trace", "more than one column", "not JSON", "no request")


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "the file is empty"),
        ("a,b\n1,2\n", 1, "columns that no known trace has: a,b"),
        (OWN.replace("50,5", "fifty,5"), 3, "prompt_tokens is 'fifty'"),
        (OWN.replace("50,5", "0,5"), 3, "prompt_tokens is '0', not a whole number from 1"),
        (OWN.replace("50,5", "50.5,5"), 3, "prompt_tokens is '50.5'"),
        (OWN.replace("50,5", f"{chr(0xFF15)}0,5"), 3, "not a whole number from 1"),
        (OWN.replace("50,5", "5_0,5"), 3, "prompt_tokens is '5_0', not a whole number from 1"),
        (OWN.replace("0.25", "2_5"), 3, "arrival_s is '2_5', not a number up to 1e+15"),
        (OWN.replace("cached_tokens", "output_tokens"), 1, "more than one column output_tokens"),
        (OWN.replace("0.25", "nan"), 3, "arrival_s is 'nan', not a number up to 1e+15"),
        (OWN.replace("0.25", "1e300"), 3, "arrival_s is '1e300', not a number up to 1e+15"),
        (OWN.replace("10,64", "10,640"), 2, "cached_tokens 640 is more than prompt_tokens 100"),
        (OWN.replace(",3,30", ",3"), 4, "3 values for 4 columns"),
        (AZURE.replace("2023-11-17", "17 Nov"), 3, "TIMESTAMP is '17 Nov 00:00:01.7500000'"),
        (MOONCAKE.replace("1500,", "1500,,", 1), 3, "this is not JSON"),
        (MOONCAKE.replace(": 0,", f": 1{'0' * 400},", 1), 2, "timestamp is '1000000"),
        (MOONCAKE.replace("[7, 1]", "7"), 4, "hash_ids is not a list"),
        (MOONCAKE.replace("[7, 1]", "[7, 1, 2]"), 4, "has 3 ids for 1024 tokens, not up to 2"),
        ('[{"new": [1], "total": [5]}]', 1, "not JSON Lines but a JSON list"),
        ('{"tokens": 1}', 1, "keys that no known trace has: tokens"),
        ('{\n "tokens": 1\n}', 1, "keys that no known trace has: tokens"),
        ('{"input_lens": [7], "output_lens": [3, 4]}', 1, "differ in length"),
        ('{"input_lens": [7]}', 1, "save it with --save-detailed"),
        ('{"total_input_tokens": 70}', 1, "run it with --save-result --save-detailed"),
        ('{"input_lens": [7]}\n' * 2, 1, "several results of vllm bench serve"),
        ('{"new": [1], "total": [5]}\n{"new": [6], "total": [5]}', 2, "with new <= total"),
        ('{"new": [1], "total": [5]}\n{"new": [], "total": []}', 2, "not a list of tokens"),
        (
            BURST_GPT.splitlines()[0] + "\n5,ChatGPT,4,0,4,API log\n",
            2,
            "there is no request with output",
        ),
    ],
)
def test_an_error_names_file_line_and_what_is_accepted(
    text: str, line: int, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "trace"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        read_trace(path)
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert problem in str(error.value)
    of_the_format = any(each in problem for each in OF_THE_FORMAT)
    assert ("accepted are Azure's CSV" in str(error.value)) == of_the_format


@pytest.mark.parametrize(
    ("arrivals", "expected"), [([0, 1, 4], [0, 0.25, 1]), ([0, 0, 0], [0, 0.5, 1])]
)
def test_a_rate_keeps_the_pattern_of_arrivals(
    arrivals: list[float], expected: list[float], tmp_path: Path
) -> None:
    lines = "".join(f"{arrival},10,5\n" for arrival in arrivals)
    (tmp_path / "trace").write_text(f"arrival_s,prompt_tokens,output_tokens\n{lines}")
    trace = read_trace(tmp_path / "trace")
    assert isinstance(trace, Trace)
    assert trace.requests.at_rate(2.0).arrival.tolist() == expected


@pytest.mark.parametrize(
    "text", [OWN.encode("utf-16"), gzip.compress(OWN.encode())], ids=["utf-16", "gzip"]
)
def test_bytes_that_are_not_text_are_said(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "trace").write_bytes(text)
    with pytest.raises(UsageError, match=r"trace: byte \d is not UTF-8 text; compressed files"):
        read_trace(tmp_path / "trace")


def test_requests_that_arrive_at_once_have_no_rate(attnbench: Attnbench, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(OWN.splitlines()[0] + "\n" + "0,100,5,\n" * 3)
    found = attnbench("traffic", "t.csv")
    assert found.stdout.startswith("3 requests of t.csv all at once, 0 % of prompt tokens cached")
    assert "5 steps in 17.1 ms, busy 100 %" in " ".join(found.stdout.split())


def test_a_high_rate_is_written_out(attnbench: Attnbench, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(OWN)
    found = attnbench("traffic", "t.csv", "--rate", "2500")
    assert "3 requests of t.csv at 2500 per second for 800 us," in " ".join(found.stdout.split())


def test_one_of_a_thing_is_counted_as_one(attnbench: Attnbench, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(OWN.splitlines()[0] + "\n0,100,1,\n")
    text = " ".join(attnbench("traffic", "t.csv").stdout.split())
    assert text.startswith("1 request of t.csv all at once, 0 % of prompt tokens cached: 1 step in")
    assert "0 preemptions." in text
    assert "1 batch for 1 step: their weighted" in text


@pytest.mark.parametrize(
    "words",
    [
        ["traffic", "t.csv", "--study", "t.csv"],
        ["traffic", "t.csv", "--study", "link.csv"],
        ["study", "traffic", "--trace", "t.csv", "--decision", "t.csv"],
        ["study", "traffic", "--trace", "t.csv", "--output-csv", "link.csv"],
        ["study", "s.yaml", "--output-json", "s.yaml"],
        ["study", "s.yaml", "--decision", "s.yaml"],
    ],
    ids=" ".join,
)
def test_no_output_replaces_the_file_that_is_read(
    words: list[str], refused: Refused, tmp_path: Path
) -> None:
    study = load_study("fp8-kv").text
    (tmp_path / "t.csv").write_text(OWN)
    (tmp_path / "link.csv").symlink_to("t.csv")
    (tmp_path / "s.yaml").write_text(study)
    message = f"Error: {words[-2]} {words[-1]}: that is the file to read"
    assert message in refused(*words)
    assert (tmp_path / "t.csv").read_text() == OWN
    assert (tmp_path / "s.yaml").read_text() == study


@pytest.mark.parametrize("name", ["mine.yaml", "mine"])
def test_the_command_ends_in_batches_that_a_study_takes(attnbench: Attnbench, name: str) -> None:
    found = attnbench("traffic", str(DATA / "azure_conv_300.csv"), "--study", name)
    assert found.returncode == 0, found.stderr
    assert f"note: wrote {name}\n" in found.stderr
    assert "300 requests of azure_conv_300.csv" in found.stdout
    assert "24 batches for" in found.stdout
    planned = attnbench("study", name, "--backend", "sdpa", "--dry-run", "--device", "cpu")
    assert planned.returncode == 0, planned.stderr
    assert "24 of 24 cases can run" in planned.stdout


@pytest.mark.parametrize(
    ("options", "is_padded"),
    [([], True), (["--spec-tokens", "1", "--acceptance", "0.7", "--batches", "2"], False)],
)
def test_padding_is_explained_where_it_is_shown(
    options: list[str], is_padded: bool, attnbench: Attnbench
) -> None:
    found = attnbench("traffic", str(DATA / "azure_conv_300.csv"), *options)
    assert ("padded to" in found.stdout) == ("Padded to:" in found.stdout) == is_padded


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--spec-tokens", "3"], "--spec-tokens needs --acceptance"),
        (["--model", "llama3-70b", "--gpu", "A100"], "accepted are more ranks, e.g. --tp 2,"),
        (["--model", "deepseek-v3", "--tp", "2"], "accepted are more ranks, e.g. --tp 8,"),
        (["--model", "deepseek-v2-lite", "--gpu", "X"], "'X' is not one of h200, h100, b200, a100"),
        (["--acceptance", "0.5"], "--acceptance needs --spec-tokens"),
        (["--max-num-seqs", "9000"], "e.g. --max-num-batched-tokens 9000"),
        (["--max-model-len", "5"], "--max-model-len 5 leaves no request; accepted are lengths"),
        (["--kv-tokens", "64"], "--kv-tokens 64 cannot hold a request of"),
        (["--kv-tokens", "70"], "leaves such requests out, e.g. --max-model-len 64"),
        (["--rate", "1e-308"], "--rate 1e-308 spreads 300 requests over more than 1e+15 s"),
        (["--acceptance", "1.5"], "'1.5' is not a number above 0 and at most 1"),
    ],
)
def test_limits_that_do_not_fit_are_refused(
    options: list[str], message: str, attnbench: Attnbench
) -> None:
    found = attnbench("traffic", str(DATA / "azure_conv_300.csv"), *options)
    assert found.returncode == 2
    assert message in " ".join(found.stderr.split())
