"""The subcommands: name and one-line summary, in the order of a day's work.

The summaries stand here so that `attnbench --help` imports none of the commands.
"""

COMMANDS = {
    "attn": "Benchmark attention backends over batch specs.",
    "mla": "Benchmark multi-head latent attention (DeepSeek) backends.",
    "cache-write": "Benchmark writing new keys and values into the paged KV cache.",
    "prefill-trtllm": "Benchmark TRT-LLM's prefill kernels against FlashInfer's, quantised or not.",
    "selfcheck": "Compare equal code with itself: this machine's noise, for diff to judge by.",
    "report": "Show stored results as tables, Markdown, CSV or JSON.",
    "diff": "Compare two sets of runs: what got slower, what did not.",
    "history": "Show cases over commits, and where their times changed.",
    "repro": "Show the command that measured a stored result, and what differs here.",
    "import": "Store results of other tools, such as vLLM's benchmark suite.",
    "runs": "List, relabel and delete stored runs.",
    "db": "Carry results between databases.",
    "doctor": "Show this machine, and which backends can run here.",
}
