"""A trace to its representative batches, by the options of `attnbench traffic`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from attnbench.errors import UsageError
from attnbench.traffic.graphs import decode_graphs
from attnbench.traffic.limits import ServerLimits
from attnbench.traffic.options import TrafficOptions
from attnbench.traffic.read import Trace, read_trace
from attnbench.traffic.reduction import Reduction, reduce_steps
from attnbench.traffic.requests import MOST_SECONDS, Requests
from attnbench.traffic.schedule import Schedule
from attnbench.traffic.server import Server
from attnbench.traffic.simulate import simulate


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the steps come from: a simulation, or a log if there are no requests."""

    tokens: int  # of the kind `counted`
    counted: Literal["output tokens", "new tokens"]  # a log does not tell outputs from prompts
    requests: int = 0
    without_output: int = 0
    too_long: int = 0  # for the server, so left out
    rate: float = 0.0
    seconds: float = 0.0  # simulated
    busy: float = 0.0  # of these, spent in steps
    mean_decodes: float = 0.0  # by step
    preemptions: int = 0
    cached: float = 0.0  # part of all prompt tokens


@dataclass(frozen=True, slots=True)
class Summary:
    """All that `attnbench traffic` shows."""

    trace: str  # the file's name
    asked: TrafficOptions
    limits: ServerLimits
    graphs: list[int]  # requests of those for decodes
    origin: Origin
    reduction: Reduction


def summarize(trace: Path, asked: TrafficOptions) -> Summary:
    """Read, simulate and reduce; UsageError for anything that does not fit together."""
    server = Server(asked.model, asked.tp, asked.gpu)
    found = read_trace(trace)
    limits = limits_of(asked, server)
    if isinstance(found, Schedule):
        schedule, origin = _as_served(found, asked)
    else:
        schedule, origin = _simulated(found, asked, limits, server)
    reduction = reduce_steps(schedule, server, asked.batches)
    return Summary(trace.name, asked, limits, decode_graphs(limits), origin, reduction)


def limits_of(asked: TrafficOptions, server: Server) -> ServerLimits:
    """The limits asked for, else vLLM's on that GPU: no more sequences than tokens of a step."""
    tokens = asked.max_num_batched_tokens or server.gpu.max_num_batched_tokens
    return ServerLimits(
        max_num_seqs=asked.max_num_seqs or min(server.gpu.max_num_seqs, tokens),
        max_num_batched_tokens=tokens,
        kv_tokens=asked.kv_tokens or server.kv_tokens(),
        spec_tokens=asked.spec_tokens,
        acceptance=asked.acceptance or 0.0,
    )


def _as_served(log: Schedule, asked: TrafficOptions) -> tuple[Schedule, Origin]:
    """The steps of a log, whose decodes have up to one new token and the speculative ones."""
    of_requests = {"rate": asked.rate, "kv-tokens": asked.kv_tokens, "acceptance": asked.acceptance}
    for name, value in of_requests.items():
        if value:
            raise UsageError(f"--{name} does not apply to a log of served batches; leave it out")
    if (longest := int(log.kv.max())) > asked.longest:
        raise UsageError(
            f"--max-model-len {asked.longest} is less than the {longest} tokens of a request in "
            f"the log; give the server's, e.g. --max-model-len {longest}"
        )
    steps = replace(log, is_decode=log.q <= 1 + asked.spec_tokens)
    return steps, Origin(int(log.q @ log.steps), "new tokens")


def _accepted(trace: Trace, asked: TrafficOptions) -> Requests:
    """The requests that the server takes, at the rate asked for."""
    requests = trace.requests.up_to(asked.longest)
    if not len(requests):
        least = int((trace.requests.prompt + trace.requests.output).min())
        raise UsageError(
            f"--max-model-len {asked.longest} leaves no request; accepted are lengths from the "
            f"{least} tokens of the shortest one, e.g. --max-model-len {least}"
        )
    if asked.rate is not None:
        requests = requests.at_rate(asked.rate)
    if not requests.arrival[-1] <= MOST_SECONDS:
        raise UsageError(
            f"--rate {asked.rate:g} spreads {len(requests)} requests over more than "
            f"{MOST_SECONDS:g} s; give a higher one, e.g. --rate 1"
        )
    return requests


def _simulated(
    trace: Trace, asked: TrafficOptions, limits: ServerLimits, server: Server
) -> tuple[Schedule, Origin]:
    if asked.spec_tokens and not asked.acceptance:
        raise UsageError("--spec-tokens needs --acceptance, e.g. --acceptance 0.7")
    if asked.acceptance and not asked.spec_tokens:
        raise UsageError("--acceptance needs --spec-tokens, e.g. --spec-tokens 3")
    requests = _accepted(trace, asked)
    served = simulate(requests, limits, server, asked.seed)
    work = [served.schedule.work(decode=decode) for decode in (True, False)]
    seconds = server.step_seconds(*work)
    return served.schedule, Origin(
        tokens=int(requests.output.sum()),
        counted="output tokens",
        requests=len(requests),
        without_output=trace.without_output,
        too_long=len(trace.requests) - len(requests),
        rate=requests.rate,
        seconds=float(served.starts[-1] + seconds[-1]),
        busy=float(seconds.sum()),
        mean_decodes=float(np.mean(work[0].requests)),
        preemptions=served.preemptions,
        cached=float(served.cached / requests.prompt.sum()),
    )
