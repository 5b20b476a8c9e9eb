"""Where a run's numbers come from, in one line below a picture."""

from attnbench.provenance.environment import Environment
from attnbench.records import Run
from attnbench.reporting.doctor import environment_facts

_NAMED = ("torch", "vllm", "flashinfer-python")  # the versions that are named


def origin_text(run: Run) -> str:
    """The run, its device, commit and versions, and the day."""
    commit = str(run.source["commit"] or "")[:10]
    listed = environment_facts(Environment.from_facts(run.environment))
    versions = [f"{name} {value.split()[0]}" for name, value in listed if name in _NAMED and value]
    found = [run.machine_name, commit, *versions, f"{run.started:%Y-%m-%d}"]
    return f"run {run.number}: {', '.join(filter(None, found))}"
