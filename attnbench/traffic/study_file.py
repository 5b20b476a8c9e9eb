"""A study of the batches of a trace, as YAML."""

import json

from attnbench.specs.shape import MLA_MODELS
from attnbench.traffic.reduction import Reduction


def study_yaml(reduction: Reduction, trace: str, model: str, tp: int) -> str:
    """A file for `attnbench study`: all backends over the batches, with weights as comments."""
    count, question = len(reduction.batches), f"Which backend is best for the traffic of {trace}?"
    lines = [
        f"# {count} batches for {reduction.num_steps} steps of {json.dumps(trace)}.",
        f"question: {json.dumps(question)}",
        f"family: {'mla' if model in MLA_MODELS else 'attn'}",
        "answer: {winner: {}}",
        "sweep:",
        f"  - model: {model}",
        f"    tp: {tp}",
        "    batch:",
    ]
    for each in reduction.batches:
        about = f"{each.kind}, weight {each.weight}: {100 * each.share:.2f} % of attention time"
        lines += [f"      # {about}", f"      - {each.batch}"]
    return "\n".join(lines) + "\n"
