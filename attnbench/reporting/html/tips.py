"""The meaning of each heading, shown when the pointer or the focus is on it."""

from collections.abc import Mapping
from dataclasses import fields

from attnbench.families import FAMILIES
from attnbench.specs.case import FLAT_FIELDS
from attnbench.specs.shape import DIMS

_TIPS: Mapping[str, str] = {
    "spec": "The batch: count, q query tokens, kv tokens of the cache; see docs/reference/batches",
    "tokens": "Tokens that one call writes",
    "implementation": "The backend, with the options that differ between rows",
    "backend": "The kernel's name; `attnbench doctor` lists all",
    "vs best": "The time over the best's of the same workload; a tie is shown to be within 1 %",
    "95 % interval": "Where the ratio, or the change, lies with 95 % confidence; narrower is surer",
    "latency": "The geometric mean of the rounds' medians, for one call",
    "+-": "Half the range of the rounds' medians; of a single round half its 95 % interval",
    "TFLOP/s": "Useful floating-point operations a second",
    "GFLOP/s": "Useful floating-point operations a second",
    "GB/s": "Useful bytes a second, of 1e9 bytes",
    "roof": "The part of the hardware's limit that is reached, from its data sheet",
    "of meas": "The part of the rate that a copy or a matmul reached when the run began",
    "memory": "The most memory that was allocated at once",
    "enqueue": "The host's time for launching a call",
    "plan": "The host's time for planning a call",
    "Mcycles": "SM cycles of a call: a time that does not depend on the clock",
    "kcycles": "SM cycles of a call: a time that does not depend on the clock",
    "decode reqs": "Requests on the backend's decode path",
    "prefill reqs": "Requests on the backend's prefill path",
    "note": "Letters of the notes below the table",
    "base": "The time before",
    "head": "The time after",
    "change": "The head's time over the base's, as a change",
    "interval": "Where the change lies with 95 % confidence",
    "verdict": "slower, faster, same within the margin, or unclear",
    "finds": "The smallest change that these rounds would find four times in five",
    "rounds needed": "Rounds a side that should settle an unclear verdict",
    "case": "The first digits of the case's key, for repro and history",
    "best": "The setting or backend with the least time",
    "ties": "Shown to take as long as the best, within 1 %",
    "unclear": "Neither a tie nor slower can be shown from these rounds",
    "same work": "Another threshold that splits the batch like the best's",
    "next": "The fastest of those shown to be slower",
    "us": "The best's time for one call",
    "ms": "The best's time for one call",
    "auto's regret": "Auto's time over the best setting's, with its 95 % interval",
    "q": "The p-value, adjusted for all cases",
    "s per": "Attention time of the trace's steps",
    "ms per": "Attention time of the trace's steps",
    "us per": "Attention time of the trace's steps",
    "against": "The change of the time against that backend, with its 95 % interval",
    "kind": "The kind of step: of decodes, of prompts, or of both",
    "steps": "How many steps of the trace are like this",
    "batch": "The batch: count, q query tokens, kv tokens of the cache",
    "a layer": "The time of attention in one layer",
    "quickest": "The setting or backend with the least time of single rounds",
    "auto is": "The backend that vLLM takes by its own selector",
    "chose": "What the backend chose by itself, where that differs between rows",
    "cycles": "The change at one SM clock, with its 95 % interval",
    "by time": "The verdict by time, where that by cycles differs",
    "time ratio": "The head's time over the base's: below 1 the head is faster",
    "foreseen": "The ratio of the least times that the two GPUs allow",
    "bound by": "What limits the least time: memory or compute",
    "base roof": "The part of the base GPU's limit that is reached",
    "head roof": "The part of the head GPU's limit that is reached",
    "time": "The change of the time, with its 95 % interval",
    "from q": "The query length from which prefill is faster",
    "low": "The last length at which decode wins outside noise",
    "high": "The first length from which prefill wins outside noise",
    "lengths": "How many lengths were measured",
    "apart": "The largest ratio of two neighbouring lengths that were measured",
    "chosen": "The settings that were tuned, of both",
    "equal requests": "The batch with requests of equal length",
    "lognormal": "The change against equal requests with as many tokens",
    "sorted": "The change against equal requests with as many tokens",
    "onelong": "The change against equal requests with as many tokens",
    "newest": "The time for one call of the newest version",
    "last step": "The newest lasting change of the time",
    "at": "The version of the last step",
    "versions": "Commits or releases that were measured",
    "method": "How the time was taken; times of unlike methods do not compare",
    "version": "A commit, with * if it had uncommitted changes, or a release",
    "before": "The version before the step",
    "since": "When the version of the step was first measured",
    "sessions": "Runs since that show the step",
    "gpu": "The device",
    "differs": "What else differs between the runs before and after",
    "measured UTC": "When its first run started",
    "label": "The label of the run",
    "runs": "How many runs measured it",
    "decode %": "The part of the time that steps of decodes alone have",
    "mixed %": "The part of the time that steps of decodes and prefills have",
    "prefill %": "The part of the time that steps of prefills alone have",
    "step": "The lasting change of the time at this version",
}
_FIELDS = {
    *(*DIMS, *FLAT_FIELDS, "quant", "spread", "batch_size", "q_len", "kv_len", "context"),
    *(each.name for family in FAMILIES.values() for each in fields(family.options)),
}


def tip(heading: str) -> str:
    """The explanation of a heading; empty if there is none."""
    words = heading.replace(",", "").split()
    for end in range(len(words), 0, -1):
        if found := _TIPS.get(" ".join(words[:end])):
            return found
    name = heading.replace(" ", "_")
    return f"A field of the case: `--where {name}=...` selects by it" if name in _FIELDS else ""
