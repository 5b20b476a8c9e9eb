"""Labels of runs, which must not read as another way to name runs."""

from attnbench.errors import UsageError
from attnbench.printable import printable

REF_KINDS = ("label", "branch", "commit", "run", "gpu")  # before a colon they say what a name is
RECENT = ("latest", "previous")  # runs, by when they were measured; a label may be previous
BISECTED = "bisect-"  # begins the label of what a bisection measures, again where it was noisy


def parse_label(text: str) -> str:
    """`text`, if it can be a label; UsageError if it would refer to runs by other means."""
    prefix, colon, _ = text.partition(":")
    if not text.isprintable() or text != text.strip():
        why = "has characters that cannot be shown, or space around it"
    elif not text:
        why = "names nothing"
    elif text == "latest":
        why = "always means the latest run"
    elif text.isdecimal():
        why = "would read as a run's number"
    elif colon and prefix in REF_KINDS:
        why = f"would read as a {prefix}"
    else:
        return text
    raise UsageError(f"the label '{printable(text)}' {why}; choose a name, e.g. --label main")
