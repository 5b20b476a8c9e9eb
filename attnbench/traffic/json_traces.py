"""JSON traces: Mooncake's lines, the result of vllm bench serve, and logs of served batches."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attnbench.traffic.requests import HASHED, TracedRequest
from attnbench.traffic.trace_line import TraceLine, fail_at


def json_lines(path: Path, lines: Sequence[str]) -> Iterator[TraceLine]:
    """The objects of a JSONL file; UsageError for a line that is something else."""
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            fail_at(path, number, f"this is not JSON ({error})")
        if not isinstance(fields, dict):
            fail_at(path, number, "this is not a JSON object")
        yield TraceLine(path, number, fields)


def read_mooncake(lines: Iterable[TraceLine]) -> Iterator[TracedRequest]:
    """Requests with the hash ids of their prompts, of 512 tokens each."""
    for line in lines:
        prompt, output = line.tokens("input_length", 1), line.tokens("output_length")
        ids = line.fields.get("hash_ids", [])
        if not isinstance(ids, list) or not all(isinstance(each, int) for each in ids):
            line.fail("hash_ids is not a list of whole numbers, e.g. [0, 1, 2]")
        if len(ids) > (most := -(-prompt // HASHED)):
            line.fail(
                f"hash_ids has {len(ids)} ids for {prompt} tokens, not up to {most}; in Mooncake's "
                f"format an id stands for {HASHED} tokens, and timestamps are in milliseconds"
            )
        yield TracedRequest(line.seconds("timestamp") / 1000, prompt, output, 0, tuple(ids))


def read_bench_serve(path: Path, result: Mapping[str, Any]) -> Iterator[TracedRequest]:
    """Requests of a result of `vllm bench serve`; without start_times all arrive at once."""
    whole = TraceLine(path, 1, result)
    prompts, outputs = result["input_lens"], result.get("output_lens")
    if not isinstance(prompts, list) or not isinstance(outputs, list):
        whole.fail("input_lens or output_lens is not a list; save it with --save-detailed")
    starts = result.get("start_times") or [0.0] * len(prompts)
    if not isinstance(starts, list) or not len(prompts) == len(outputs) == len(starts):
        whole.fail("input_lens, output_lens and start_times differ in length")
    for prompt, output, start in zip(prompts, outputs, starts, strict=True):
        line = TraceLine(path, 1, {"input_lens": prompt, "output_lens": output, "start": start})
        length = line.tokens("input_lens", 1)
        yield TracedRequest(line.seconds("start"), length, line.tokens("output_lens"))


def read_served(lines: Iterable[TraceLine]) -> Iterator[list[tuple[int, int]]]:
    """The (new, total) tokens of each step's requests."""
    for line in lines:
        new, total = line.token_list("new"), line.token_list("total")
        if len(new) != len(total) or any(n > t for n, t in zip(new, total, strict=True)):
            line.fail("new and total need a number each for every request, with new <= total")
        yield list(zip(new, total, strict=True))
