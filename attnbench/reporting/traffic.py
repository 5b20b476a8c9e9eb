"""The table of a trace's representative batches."""

import math
from collections.abc import Sequence

from attnbench.analysis.fields import spec
from attnbench.reporting.text_table import Column, Style, known, names, text_table, words, wrapped
from attnbench.specs.models import MODELS
from attnbench.traffic.graphs import padded_to
from attnbench.traffic.reduction import Reduction, Representative
from attnbench.traffic.summary import Summary
from attnbench.units import MISSING, counted, percent, seconds_text

TARGET = 0.02  # most that weighted sums may differ from those of all steps
_STEPS = (
    "Steps is a batch's weight: the steps for which it stands, with decodes, context tokens, new "
    "prefill tokens and keys per new token in these ranges."
)
_PADDED = (
    "Padded to: the requests of the CUDA graph in which vLLM runs a batch of decodes of one token; "
    "attn and mla pad it so themselves unless --no-pad is given."
)


def traffic_text(summary: Summary, style: Style, width: int) -> str:
    """Where the steps come from, the batches, and what they lose."""
    sentences = [_origin(summary), _model(summary)]
    head = "\n".join(wrapped(each, width) for each in sentences)
    sizes = [padded_to(each.batch, summary.graphs) for each in summary.reduction.batches]
    notes = [_loss(summary.reduction), _STEPS, *([_PADDED] if any(sizes) else [])]
    foot = "\n".join(wrapped(each, width) for each in notes)
    return f"{head}\n\n{_table(summary.reduction.batches, sizes, style, width)}\n\n{foot}"


def _table(
    batches: Sequence[Representative], sizes: Sequence[int | None], style: Style, width: int
) -> str:
    columns = [
        names("kind", [each.kind for each in batches]),
        Column("steps", [str(each.weight) for each in batches]),
        Column("time %", [f"{100 * each.share:.2f}" for each in batches]),
        *known("decodes", _ranges([each.decodes for each in batches])),
        *known("context", _ranges([each.context for each in batches]), optional=True),
        *known("new", _ranges([each.new for each in batches])),
        *known("keys", _ranges([each.keys for each in batches]), optional=True),
        *known("padded to", [str(size or MISSING) for size in sizes]),
        words("batch", [spec(each.batch) for each in batches]),
    ]
    return text_table(columns, style, width)


def _ranges(ends: Sequence[tuple[int, int]]) -> list[str]:
    return [str(low) if low == high else f"{low}..{high}" for low, high in ends]


def _origin(summary: Summary) -> str:
    origin, steps = summary.origin, summary.reduction.num_steps
    if not origin.requests:
        return f"{counted(steps, 'step')} as served, from {summary.trace}."
    too_long = f"longer than {summary.asked.longest} tokens"
    counts = {"without output": origin.without_output, too_long: origin.too_long}
    missing = " and ".join(f"{count} {why}" for why, count in counts.items() if count)
    left_out = f" ({missing} left out)" if missing else ""
    pace = _pace(origin.rate, origin.requests)
    return (
        f"{counted(origin.requests, 'request')} of {summary.trace}{left_out} {pace}, "
        f"{percent(origin.cached)} of prompt tokens cached: {counted(steps, 'step')} in "
        f"{seconds_text(origin.seconds)}, busy {percent(origin.busy / origin.seconds)}, "
        f"{origin.mean_decodes:.1f} decodes a step on average, "
        f"{counted(origin.preemptions, 'preemption')}."
    )


def _pace(rate: float, requests: int) -> str:
    if rate == math.inf:
        return "all at once"
    written = f"{rate:.3g}" if rate < 999.5 else f"{rate:.0f}"
    return f"at {written} per second for {seconds_text((requests - 1) / rate)}"


def _model(summary: Summary) -> str:
    asked, limits = summary.asked, summary.limits
    dense = " with dense attention" if MODELS[asked.model].selects_keys else ""
    server = f"{asked.model}{dense}, TP {asked.tp}, {asked.gpu}"
    spec = f", {limits.spec_tokens} speculative tokens, each accepted at {limits.acceptance:g}"
    return (
        f"By a model of vLLM's scheduler, not a measurement: {server}; steps last as their "
        f"roofline says; at most {limits.max_num_seqs} sequences, {limits.max_num_batched_tokens} "
        f"tokens a step, {limits.kv_tokens} tokens of KV cache{spec if limits.spec_tokens else ''}."
        if summary.origin.requests
        else f"Times are rooflines of attention: {server}."
    )


def _loss(reduction: Reduction) -> str:
    is_met = max(abs(reduction.loss), reduction.beside) <= TARGET
    return (
        f"{counted(len(reduction.batches), 'batch', 'es')} for "
        f"{counted(reduction.num_steps, 'step')}: their weighted "
        f"roofline time of attention is {100 * reduction.loss:+z.2f} % off that of all steps, and "
        "their decodes, new tokens and longest sequences, with which a kernel's time may grow, are "
        f"at most {100 * reduction.beside:.2f} % off "
        f"(target within {percent(TARGET)}: {'met' if is_met else 'missed, ask for more batches'})."
        f" Had each been drawn at random from the steps for which it stands, 95 % of draws would "
        f"be within ±{100 * reduction.margin:.2f} %."
    )
