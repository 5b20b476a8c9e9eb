"""The subcommands with one-line summaries, in the order of a typical day's work.

The summaries are here, so `attnbench --help` imports none of the commands.
"""

from attnbench.families import FAMILIES

COMMANDS = {name: family.summary for name, family in FAMILIES.items()} | {
    "traffic": "Reduce a trace of requests to a few batches that stand for all of its steps.",
    "study": "Answer a question with a sweep and a conclusion.",
    "selfcheck": "Measure equal code against itself: the noise that diff judges by.",
    "report": "Show stored results as tables, Markdown, CSV or JSON.",
    "diff": "Compare two sets of runs: what got slower, what did not.",
    "ab": "Measure two builds alternately on one device, and compare them.",
    "history": "Show cases over commits, and where their times changed.",
    "site": "Write a static site over all runs: cases over commits and releases, regressions.",
    "repro": "Show the command that measured a stored result, and what differs here.",
    "import": "Import results of other tools, such as vLLM's benchmark suite.",
    "runs": "List, relabel and delete stored runs.",
    "db": "Copy results between databases.",
    "doctor": "Show what this machine can measure, and why other backends cannot run here.",
}
