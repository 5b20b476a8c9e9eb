"""A study of the batches of a trace, as YAML."""

import json

from attnbench.specs.models import MLA_MODELS, MODELS
from attnbench.traffic.summary import Summary


def study_yaml(summary: Summary) -> str:
    """A file for `attnbench study`: all backends over the batches, with the steps of each."""
    asked, origin, reduction = summary.asked, summary.origin, summary.reduction
    dense = " with dense attention" if MODELS[asked.model].selects_keys else ""
    question = f"Which backend is best for the traffic of {summary.trace} on {asked.model}{dense}?"
    is_mla = asked.model in MLA_MODELS
    lines = [
        f"question: {json.dumps(question)}",
        f"family: {'mla' if is_mla else 'attn'}",
        "answer:",
        "  traffic:",
        f"    trace: {json.dumps(summary.trace)}",
        f"    requests: {origin.requests}",
        f"    tokens: {origin.tokens}",
        f"    counted: {origin.counted}",
        f"    gpu: {asked.gpu}",
        f"    layers: {MODELS[asked.model].layers}",
        f"    loss: {reduction.loss:.6f}",
        f"    margin: {reduction.margin:.6f}",
        "    batches:",
    ]
    for each in reduction.batches:
        lines.append(f"      # {100 * each.share:.2f} % of the rooflines of all steps")
        lines.append(f"      - {{kind: {each.kind}, steps: {each.weight}, batch: {each.batch}}}")
    lines += ["sweep:", f"  - model: {asked.model}", f"    tp: {asked.tp}"]
    if asked.max_model_len:
        lines.append(f"    knobs: {{max_model_len: {asked.max_model_len}}}")
    if is_mla:
        # The decode and the prefill path do equal work only there.
        lines.append("    scope: layer")
    return "\n".join(lines) + "\n"
