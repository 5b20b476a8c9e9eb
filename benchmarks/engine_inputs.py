"""The attention calls in vLLM's decode graphs, timed by our clock, with its inputs and ours."""

import copy
from collections.abc import Callable, Iterator, Sequence
from statistics import median, mode
from typing import Any

import torch

from attnbench.timing.activity import recorded
from attnbench.timing.cuda import GraphClock
from attnbench.timing.sm_clock import SmClock

DEVICE = "cuda:0"
SAMPLES = 20
TINY = 1e-30  # FlashMLA divides smaller outputs slowly


class Call:
    """A layer's call in a captured graph: its tensors keep what the last replay left in them."""

    def __init__(self, forward: Callable[..., Any], impl: Any, args: tuple[Any, ...]) -> None:
        self.mla = forward.__name__ == "forward_mqa"
        self.forward, self.impl, self.args = forward, impl, args
        # forward_mqa(q, cache, metadata, layer); forward(layer, q, k, v, cache, metadata, output)
        at_queries, at_cache, at_metadata = (0, 1, 2) if self.mla else (1, 4, 5)
        self.queries, self.cache = args[at_queries], args[at_cache]
        self.metadata, self.output = args[at_metadata], args[-1]

    def take_queries(self) -> None:
        """Take those of the last replay; FLASHMLA's joined, since that is not attention."""
        self.queries = self.args[0 if self.mla else 1]
        if type(self.impl).__name__ == "FlashMLAImpl":
            self.queries = torch.cat(self.queries, dim=-1)

    def launch(self) -> None:
        """The call. As in our rows, each layer has outputs of its own."""
        if self.mla:
            self.output = None
            args = self.queries, self.cache, self.metadata, self.args[3]
            self.output = self.forward(self.impl, *args)[0]
        else:
            self.forward(self.impl, *self.args)

    def reschedule(self) -> None:
        """A new schedule of FLASHMLA, which its next call makes from the lengths of then."""
        if type(self.impl).__name__ == "FlashMLAImpl":
            self.metadata = copy.copy(self.metadata)
            self.metadata.decode = copy.copy(self.metadata.decode)
            self.metadata.decode.scheduler_metadata = type(
                self.metadata.decode.scheduler_metadata
            )()
        self.launch()


def record_calls(backend: str) -> dict[int, list[Call]]:
    """The calls captured from now on, by requests; holding them keeps the graphs' tensors."""
    from vllm.v1.attention.backends.registry import AttentionBackendEnum

    impl: Any = AttentionBackendEnum[backend].get_class().get_impl_cls()
    name = "forward_mqa" if "_MLA" in backend or backend == "FLASHMLA" else "forward"
    forward, calls = getattr(impl, name), dict[int, list[Call]]()

    def recording(self: Any, *args: Any, **others: Any) -> Any:
        if torch.cuda.is_current_stream_capturing():
            ordered = (*args, *others.values())[: 4 if name == "forward_mqa" else 7]
            call = Call(forward, self, ordered)
            requests = call.metadata.num_decode_tokens if call.mla else len(call.queries)
            calls.setdefault(requests, []).append(call)
        return forward(self, *args, **others)

    setattr(impl, name, recording)
    return calls


def with_our_inputs(calls: Sequence[Call], kv: int, page: int) -> list[dict[str, Any]]:
    """Time the calls of all layers as they are; then with one more input made ours in each row."""
    for call in calls:
        call.take_queries()
    rows = []
    for name, change in changes(calls, kv, page):
        change()
        for call in calls:
            call.reschedule()
        found = facts(calls[-1].output)
        rows.append({"inputs": name, **timed([call.launch for call in calls]), **found})
    return rows


def changes(
    calls: Sequence[Call], kv: int, page: int
) -> Iterator[tuple[str, Callable[[], object]]]:
    """What makes an input ours, in the order in which they are replaced."""
    metadata = calls[0].metadata
    decode = getattr(metadata, "decode", metadata)
    table = decode.block_table if hasattr(decode, "block_table") else decode.block_tables
    requests, used = len(decode.seq_lens), -(-kv // page)

    def scatter() -> None:
        pages = torch.randperm(max(calls[0].cache.shape), device=DEVICE)[: requests * used]
        table[:, :used] = pages.view(requests, used)

    yield "the engine's", lambda: None
    yield f"all of length {kv}", lambda: decode.seq_lens.masked_fill_(decode.seq_lens > 0, kv)
    yield "random queries", lambda: [part.normal_() for each in calls for part in parts(each)]
    yield "random cache", lambda: [each.cache.normal_() for each in calls]
    yield "scattered pages", scatter


def parts(call: Call) -> tuple[torch.Tensor, ...]:
    """The tensors of its queries."""
    return call.queries if isinstance(call.queries, tuple) else (call.queries,)


def timed(launches: Sequence[Callable[[], object]]) -> dict[str, float]:
    """Medians of a call's microseconds and of the SM clock; and the time by CUPTI of one replay."""
    stamps = SmClock(DEVICE)
    clock = GraphClock(launches, DEVICE, stamps)
    for _ in range(SAMPLES):
        clock.sample()
    stamps.start()
    seconds = median(clock.sample() for _ in range(SAMPLES))
    hertz = median(stamps.clocks())
    activities = recorded(clock.sample)
    most = mode(each.launch for each in activities)
    replay = [each for each in activities if each.launch == most]
    span = max(each.end for each in replay) - min(each.start for each in replay)
    return {
        "us": 1e6 * seconds,
        "us by CUPTI": 1e-3 * span / clock.calls_per_sample,
        "GHz": 1e-9 * hertz,
    }


def facts(output: torch.Tensor) -> dict[str, float]:
    """Outputs by which kernels may differ: shares of NaN and of next to nothing."""
    values = output.float()
    return {
        "NaN, %": 100 * float(values.isnan().float().mean()),
        "tiny, %": 100 * float((values.abs() < TINY).float().mean()),
        "rms": float(values.square().mean().sqrt()),
    }
